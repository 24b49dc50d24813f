//! The ready file: `<data folder>/ready`, holding the pid, exists exactly while the process serves.
//!
//! It is how a parent orders starts without a network port. Must never be created before every listener accepts.

use std::io;
use std::path::{Path, PathBuf};

/// Removed when dropped. After a kill -9 the file stays behind with a stale pid, which a reader must compare.
#[derive(Debug)]
pub struct ReadyFile {
    path: PathBuf,
}

impl ReadyFile {
    /// Name of the file inside a role's data folder.
    pub const NAME: &str = "ready";

    /// Says that this process serves from now on.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(data_folder: &Path) -> io::Result<Self> {
        let path = data_folder.join(Self::NAME);
        std::fs::write(&path, std::process::id().to_string())?;
        Ok(Self { path })
    }

    /// The pid in the ready file of `data_folder`, if there is one.
    pub fn read(data_folder: &Path) -> Option<u32> {
        std::fs::read_to_string(data_folder.join(Self::NAME))
            .ok()?
            .trim()
            .parse()
            .ok()
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "ready file was already gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exists_only_while_held() {
        let folder = tempfile::tempdir().expect("temp folder");
        assert_eq!(ReadyFile::read(folder.path()), None);
        let ready = ReadyFile::create(folder.path()).expect("writable");
        assert_eq!(ReadyFile::read(folder.path()), Some(std::process::id()));
        drop(ready);
        assert_eq!(ReadyFile::read(folder.path()), None);
    }
}
