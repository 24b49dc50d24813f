//! From when on an App ID's SVIDs count: set when an App ID is deleted, so that the next one of that name is not it.
//!
//! One idea: a small JSON file, never shortened; an entry is a name and an instant. Blocks on local disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use palladium_sealing::write_file_atomic;

use crate::Error;
use crate::error::at;

/// Unix seconds by `<project id>/<app id>`.
pub(crate) struct Revocations {
    path: PathBuf,
    before: Mutex<BTreeMap<String, i64>>,
}

impl Revocations {
    /// Reads the file.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let before = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| Error::Damaged {
                path: path.clone(),
                reason: error.to_string(),
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(at(&path)(error)),
        };
        Ok(Self {
            path,
            before: Mutex::new(before),
        })
    }

    /// SVIDs issued before this are void; 0 = none are.
    pub(crate) fn before(&self, name: &str) -> i64 {
        self.before
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .copied()
            .unwrap_or(0)
    }

    /// Voids everything issued before `unix_s`.
    pub(crate) fn revoke(&self, name: &str, unix_s: i64) -> Result<(), Error> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = before.clone();
        next.insert(name.to_owned(), unix_s);
        let text = serde_json::to_vec(&next).map_err(|error| Error::Damaged {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        write_file_atomic(&self.path, &text, 0o600)?;
        *before = next;
        Ok(())
    }
}
