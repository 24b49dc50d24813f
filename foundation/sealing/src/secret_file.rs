//! Files that hold secrets: refused when others may read them, or when they are larger than they can be.
//!
//! One idea: whoever reads a secret says how long it can be, so that a damaged file costs no memory. Written they are by
//! [`palladium_os::files`]. All functions block on local disk. Must never read a secret that is a secret no more.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use crate::Error;

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

fn read_error(path: &Path, source: std::io::Error) -> Error {
    Error::File(palladium_os::Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

#[cfg(all(test, unix))]
mod tests {
    use palladium_os::files::{write_private, write_public};

    use super::*;

    #[test]
    fn read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write_private(&path, b"two").unwrap();
        assert_eq!(read_secret_file(&path, 3).unwrap(), b"two");
        assert!(matches!(read_secret_file(&path, 2), Err(Error::Size { .. })));
        assert!(matches!(
            read_secret_file(&folder.path().join("none"), 2),
            Err(Error::File(_))
        ));
    }

    #[test]
    fn a_readable_secret_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write_public(&path, b"x").unwrap();
        assert!(matches!(read_secret_file(&path, 9), Err(Error::Permissions { .. })));
    }
}
