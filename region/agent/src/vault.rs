//! Folders of wrapped JSON files: one secret thing per file, each bound to its own name.
//!
//! One idea: what is on disk is either absent or whole and authentic. Values pass through memory that is cleared. All
//! functions block on local disk. Must never hold a value by itself: callers do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use palladium_sealing::{ExposeSecret as _, Kek};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::Error;
use crate::error::at;

/// One folder.
#[derive(Clone)]
pub(crate) struct Vault {
    kek: Arc<Kek>,
    folder: PathBuf,
    purpose: &'static str,
}

impl Vault {
    /// Makes the folder when it is missing.
    pub(crate) fn open(kek: Arc<Kek>, folder: &Path, purpose: &'static str) -> Result<Self, Error> {
        palladium_os::files::private_folder(folder)?;
        Ok(Self {
            kek,
            folder: folder.to_owned(),
            purpose,
        })
    }

    /// Replaces a file.
    pub(crate) fn write(&self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let path = self.path(name)?;
        let json = serde_json::to_vec(value)
            .map(Zeroizing::new)
            .map_err(|error| Error::Damaged {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        Ok(self.kek.write_wrapped(&path, &self.purpose_of(name), &json)?)
    }

    /// Reads a file; `None` when there is none.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let path = self.path(name)?;
        let Some(json) = self.kek.read_wrapped(&path, &self.purpose_of(name))? else {
            return Ok(None);
        };
        // serde's message could quote a value; only its place is told.
        serde_json::from_slice(json.expose_secret())
            .map(Some)
            .map_err(|error| Error::Damaged {
                path,
                reason: format!("unexpected content in line {}, column {}", error.line(), error.column()),
            })
    }

    /// Reads all files; damaged ones are reported by name and left out.
    pub(crate) fn read_all<T: DeserializeOwned>(&self) -> Result<Vec<(String, T)>, Error> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(at(&self.folder))? {
            let name = entry
                .map_err(at(&self.folder))?
                .file_name()
                .to_string_lossy()
                .into_owned();
            if !is_name(&name) {
                continue;
            }
            match self.read(&name) {
                Ok(Some(value)) => all.push((name, value)),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "wrapped file left out"),
            }
        }
        Ok(all)
    }

    /// Removes a file; a missing one is fine.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Names come from uids, which come from outside: nothing but a plain file name passes.
    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        if is_name(name) {
            Ok(self.folder.join(name))
        } else {
            Err(Error::Damaged {
                path: self.folder.clone(),
                reason: "a name that is no file name was asked for".to_owned(),
            })
        }
    }

    fn purpose_of(&self, name: &str) -> String {
        format!("agent/{}/{name}", self.purpose)
    }
}

/// Whether a uid can be a file name: lower-case letters, digits and dashes, as UUIDs have them.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
