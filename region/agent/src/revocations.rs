//! From when on an App ID's SVIDs count: set when an App ID is deleted, so that the next one of that name is not it.
//!
//! One idea: a small JSON file, never shortened; an entry is a name and an instant. Blocks on local disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::{Error, json_file};

/// Unix seconds by `<project id>/<app id>`.
pub(crate) struct Revocations {
    path: PathBuf,
    before: Mutex<BTreeMap<String, i64>>,
}

impl Revocations {
    /// Reads the file.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let before: BTreeMap<_, _> = json_file::read(&path)?.unwrap_or_default();
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
        json_file::write(&self.path, &next)?;
        *before = next;
        Ok(())
    }
}
