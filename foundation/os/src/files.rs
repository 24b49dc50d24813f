//! Files that only their owner may read, written whole or not at all, and a lock that dies with its holder.
//!
//! One idea: a reader sees the old content or the new one, whatever is killed and when. Must never follow with a
//! partial file: content goes to a temporary name, is synced, renamed, and the folder is synced.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// For the owner alone.
const PRIVATE: u32 = 0o600;

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
    place(path, content, PRIVATE, |temporary| fs::rename(temporary, path))
}

/// As [`write_private`], for what anybody may read (mode 0644).
///
/// # Errors
/// As [`write_private`].
pub fn write_public(path: &Path, content: &[u8]) -> Result<(), Error> {
    place(path, content, 0o644, |temporary| fs::rename(temporary, path))
}

/// Makes a file, mode 0600, that must not be there yet; `false` when it is, made by another process a moment ago
/// perhaps: then nothing was written.
///
/// # Errors
/// [`Error::File`].
pub fn create_private(path: &Path, content: &[u8]) -> Result<bool, Error> {
    let mut made = true;
    place(path, content, PRIVATE, |temporary| {
        // Unlike renaming, linking never replaces what is there.
        match fs::hard_link(temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => made = false,
            other => other?,
        }
        fs::remove_file(temporary)
    })?;
    Ok(made)
}

/// Writes a whole file beside `path`, which `put` then puts there.
fn place(path: &Path, content: &[u8], mode: u32, put: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
    // Two writers at once, in one process or two, must not share it.
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let (writer, number) = (std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed));
    name.push(format!(".{writer}-{number}.new"));
    let temporary = path.with_file_name(name);
    let write = || -> io::Result<()> {
        // Whatever has this name was left by a writer of the same pid that was killed.
        let mut file = open(
            OpenOptions::new().write(true).create(true).truncate(true),
            &temporary,
            mode,
        )?;
        file.write_all(content)?;
        file.sync_all()?;
        put(&temporary)?;
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
    open(options, path, PRIVATE)
}

fn open(options: &mut OpenOptions, path: &Path, mode: u32) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, mode);
    #[cfg(not(unix))]
    let _ = mode;
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
mod tests;
