//! Files that hold secrets: written atomically with mode 0600, refused when others may read them.
//!
//! The one idea: a reader sees the old file or the new one, whole, whatever the moment of a crash or a full disk. All
//! functions block on local disk. What is made once is made by one process only ([`create_file`]). Must never follow up a
//! failed write by truncating what was there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::Path;

use crate::Error;
use crate::digest::random_bytes;

/// Writes a secret file: mode 0600, complete or not at all, durable when this returns.
pub fn write_secret_file(path: &Path, contents: &[u8]) -> Result<(), Error> {
    write_file_atomic(path, contents, 0o600)
}

/// Writes any file atomically: temporary file beside it, fsync, rename, fsync of the folder.
pub fn write_file_atomic(path: &Path, contents: &[u8], mode: u32) -> Result<(), Error> {
    with_temporary(path, contents, mode, |temporary| fs::rename(temporary, path))
}

/// Makes a secret file that must not be there yet; `false` when it is, made by another process a moment ago perhaps: then
/// nothing was written.
pub fn create_file(path: &Path, contents: &[u8]) -> Result<bool, Error> {
    let mut made = true;
    with_temporary(path, contents, 0o600, |temporary| {
        // Unlike renaming, linking never replaces what is there.
        match fs::hard_link(temporary, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => made = false,
            other => other?,
        }
        fs::remove_file(temporary)
    })?;
    Ok(made)
}

/// Writes a whole file beside `path`, which `place` then puts there.
fn with_temporary(
    path: &Path,
    contents: &[u8],
    mode: u32,
    place: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), Error> {
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let suffix: String = random_bytes::<6>().iter().map(|byte| format!("{byte:02x}")).collect();
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let temporary = folder.join(format!(".{name}.{suffix}.tmp"));
    let written = write_new(&temporary, contents, mode)
        .and_then(|()| place(&temporary))
        .and_then(|()| sync_folder(folder));
    written.map_err(|source| {
        // Best effort: the temporary file is of no use, and the error that matters is the one reported.
        let _ = fs::remove_file(&temporary);
        Error::Io {
            action: "cannot write",
            path: path.to_owned(),
            source,
        }
    })
}

/// Reads a secret file of at most `max_len` bytes; refuses one that group or others may read.
pub fn read_secret_file(path: &Path, max_len: usize) -> Result<Vec<u8>, Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(path)
            .map_err(|source| read_error(path, source))?
            .permissions()
            .mode()
            & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::Permissions {
                path: path.to_owned(),
                mode,
            });
        }
    }
    read_limited(path, max_len)
}

/// Reads any file of at most `max_len` bytes.
pub(crate) fn read_limited(path: &Path, max_len: usize) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(|source| read_error(path, source))?;
    // Room for all of a short secret: a vector that grows leaves copies behind.
    let mut contents = Vec::with_capacity(max_len.min(8192) + 1);
    file.take(max_len as u64 + 1)
        .read_to_end(&mut contents)
        .map_err(|source| read_error(path, source))?;
    if contents.len() > max_len {
        return Err(Error::Size { path: path.to_owned() });
    }
    Ok(contents)
}

fn write_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

fn read_error(path: &Path, source: io::Error) -> Error {
    Error::Io {
        action: "cannot read",
        path: path.to_owned(),
        source,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn written_private_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write_secret_file(&path, b"one").unwrap();
        write_secret_file(&path, b"two").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_secret_file(&path, 3).unwrap(), b"two");
        assert!(matches!(read_secret_file(&path, 2), Err(Error::Size { .. })));
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn a_readable_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write_file_atomic(&path, b"x", 0o644).unwrap();
        assert!(matches!(
            read_secret_file(&path, 9),
            Err(Error::Permissions { mode: 0o644, .. })
        ));
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        // The name fits, that of a temporary file does not.
        let path = folder.path().join("n".repeat(250));
        fs::write(&path, "old").unwrap();
        assert!(write_secret_file(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        // A folder is in the place where the file should be put.
        let path = folder.path().join("token");
        fs::create_dir(&path).unwrap();
        assert!(write_secret_file(&path, b"new").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_there_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(create_file(&path, b"one").unwrap());
        assert!(!create_file(&path, b"two").unwrap());
        assert_eq!(read_secret_file(&path, 3).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
