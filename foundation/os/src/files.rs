//! Files that only their owner may read, written whole or not at all, and a lock that dies with its holder.
//!
//! One idea: a reader sees the old content or the new one, whatever is killed and when. Must never follow with a
//! partial file: content goes to a temporary name, is synced, renamed, and the folder is synced.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// Creates `path` and missing parents with mode 0700; an empty `path` that exists is narrowed to 0700.
///
/// # Errors
/// [`Error::SharedFolder`] for one that is not empty and that others may enter: who knows who needs it. [`Error::File`], for
/// instance on a read-only file system.
pub fn private_folder(path: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(path)
        .map_err(|source| failed("create folder", path, source))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let narrow = |source| failed("protect folder", path, source);
        let mode = fs::metadata(path).map_err(narrow)?.permissions().mode() & 0o777;
        let empty = || fs::read_dir(path).map(|mut entries| entries.next().is_none());
        if mode & 0o077 != 0 && !empty().map_err(narrow)? {
            let path = path.to_owned();
            return Err(Error::SharedFolder { path, mode });
        }
        if mode != 0o700 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(narrow)?;
        }
    }
    Ok(())
}

/// Replaces `path` by `content`, mode 0600, atomically and durably.
///
/// # Errors
/// [`Error::File`]; the old content is then still there.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), Error> {
    // Two writers at once, in one process or two, must not share it.
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let (writer, number) = (std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed));
    name.push(format!(".{writer}-{number}.new"));
    let temporary = path.with_file_name(name);
    let write = || -> io::Result<()> {
        // Whatever has this name was left by a writer of the same pid that was killed.
        let mut file = open_private(OpenOptions::new().write(true).create(true).truncate(true), &temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_folder(path)
    };
    write().map_err(|source| {
        // The temporary file may never have existed; the first error is the one that matters.
        let _ = fs::remove_file(&temporary);
        failed("write", path, source)
    })
}

/// An exclusive lock on a file. The kernel releases it when the holder dies, however it dies.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, and notes this process's pid in the file; `None` when somebody else holds it.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be opened or written.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, Error> {
        let lock = |source| failed("lock", path, source);
        let mut file = open_private(
            OpenOptions::new().read(true).write(true).create(true).truncate(false),
            path,
        )
        .map_err(lock)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(lock(source)),
        }
        file.set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()))
            .map_err(lock)?;
        Ok(Some(Self { file }))
    }

    /// The pid of who holds the lock now, if somebody does. Advisory: open a pidfd, then ask again.
    pub fn holder(path: &Path) -> Option<u32> {
        let file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => fs::read_to_string(path).ok()?.trim().parse().ok(),
            _ => None,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The file stays: removing it would let two holders lock two files of the same name.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

/// Opens with mode 0600 when the file is created.
pub(crate) fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        // The parent of a bare name is an empty path.
        let here = folder.as_os_str().is_empty();
        File::open(if here { Path::new(".") } else { folder })?.sync_all()?;
    }
    Ok(())
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn written_files_and_folders_are_private_and_leave_no_temporary() {
        let folder = tempfile::tempdir().expect("temp folder");
        let inner = folder.path().join("a/b");
        private_folder(&inner).expect("created");
        let file = inner.join("key");
        write_private(&file, b"one").expect("written");
        write_private(&file, b"two").expect("replaced");
        assert_eq!(fs::read(&file).expect("readable"), b"two");
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&inner).expect("there").permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&inner).expect("listed").count(), 1);
    }

    #[test]
    fn sec_147_a_failed_write_keeps_the_old_content_and_says_what_failed() {
        let folder = tempfile::tempdir().expect("temp folder");
        // A folder of that name stops root too, unlike permissions.
        let taken = folder.path().join("ledger.json");
        let inside = taken.join("old");
        private_folder(&taken).expect("created");
        write_private(&inside, b"old").expect("written");
        let error = write_private(&taken, b"new").expect_err("a folder").to_string();
        assert!(
            error.contains("cannot write") && error.contains("ledger.json"),
            "{error}"
        );
        assert_eq!(fs::read(&inside).expect("readable"), b"old");
        assert_eq!(
            fs::read_dir(folder.path()).expect("listed").count(),
            1,
            "no temporary file"
        );
    }

    #[test]
    fn somebody_elses_folder_is_left_as_it_is() {
        let folder = tempfile::tempdir().expect("temp folder");
        let wide = folder.path().join("srv");
        let mode = || fs::metadata(&wide).expect("there").permissions().mode() & 0o777;
        let widen = || fs::set_permissions(&wide, fs::Permissions::from_mode(0o755)).expect("widened");
        fs::create_dir(&wide).expect("created");
        widen();
        private_folder(&wide).expect("an empty one is taken");
        assert_eq!(mode(), 0o700);
        fs::write(wide.join("page.html"), "").expect("written");
        private_folder(&wide).expect("narrow already");
        widen();
        let error = private_folder(&wide).expect_err("shared").to_string();
        assert!(
            error.contains("srv") && error.contains("755") && error.contains("chmod 700"),
            "{error}"
        );
        assert_eq!(mode(), 0o755);
    }

    #[test]
    fn a_bare_name_is_written_too() {
        // The folder of this crate, where tests run.
        let path = Path::new("bare-name-of-a-test");
        write_private(path, b"here").expect("written");
        assert_eq!(fs::read(path).expect("readable"), b"here");
        fs::remove_file(path).expect("removed");
    }

    #[test]
    fn writers_at_the_same_time_do_not_mix() {
        let folder = tempfile::tempdir().expect("temp folder");
        let file = folder.path().join("state");
        std::thread::scope(|scope| {
            for letter in [b'a', b'b', b'c', b'd'] {
                let file = &file;
                scope.spawn(move || (0..20).for_each(|_| write_private(file, &[letter; 9000]).expect("written")));
            }
        });
        let content = fs::read(&file).expect("readable");
        assert!(content.len() == 9000 && content.iter().all(|byte| *byte == content[0]));
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_lock_has_one_holder_and_names_it() {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("lock");
        assert_eq!(Lock::holder(&path), None);
        let lock = Lock::try_acquire(&path).expect("works").expect("free");
        assert!(Lock::try_acquire(&path).expect("works").is_none());
        assert_eq!(Lock::holder(&path), Some(std::process::id()));
        drop(lock);
        assert_eq!(Lock::holder(&path), None);
        assert!(Lock::try_acquire(&path).expect("works").is_some());
    }
}
