//! Objects that are gone from the desired state and not yet from the region.
//!
//! One idea: written before the deletion is acknowledged, removed when nothing of the object is left; so a deletion
//! survives every crash and every snapshot. Must never hold what the file does not. Blocks on local disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::{Error, json_file};

/// One deleted object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tombstone {
    pub(crate) uid: String,
    pub(crate) kind: String,
    pub(crate) project_id: String,
    pub(crate) name: String,
    pub(crate) generation: u64,
    /// For components.
    #[serde(default)]
    pub(crate) component_type: String,
}

/// All of them by uid.
pub(crate) struct Tombstones {
    path: PathBuf,
    all: Mutex<BTreeMap<String, Tombstone>>,
}

impl Tombstones {
    /// Reads the file.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let all: BTreeMap<_, _> = json_file::read(&path)?.unwrap_or_default();
        Ok(Self {
            path,
            all: Mutex::new(all),
        })
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Tombstone>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds some.
    pub(crate) fn add(&self, tombstones: impl IntoIterator<Item = Tombstone>) -> Result<(), Error> {
        self.change(|all| all.extend(tombstones.into_iter().map(|one| (one.uid.clone(), one))))
    }

    /// Nothing is left of the object.
    pub(crate) fn remove(&self, uid: &str) -> Result<(), Error> {
        self.change(|all| {
            all.remove(uid);
        })
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Tombstone>)) -> Result<(), Error> {
        let mut all = self.all();
        let mut next = all.clone();
        change(&mut next);
        if next != *all {
            json_file::write(&self.path, &next)?;
            *all = next;
        }
        Ok(())
    }

    /// Those of one kind.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<Tombstone> {
        self.all().values().filter(|one| one.kind == kind).cloned().collect()
    }

    /// Whether anything of a project is still being removed, beside the project itself.
    pub(crate) fn any_in_project(&self, project_id: &str) -> bool {
        self.all()
            .values()
            .any(|one| one.project_id == project_id && one.kind != "Project")
    }

    /// Whether an object of this kind and name is still being removed.
    pub(crate) fn has(&self, kind: &str, project_id: &str, name: &str) -> bool {
        self.all()
            .values()
            .any(|one| (one.kind.as_str(), one.project_id.as_str(), one.name.as_str()) == (kind, project_id, name))
    }
}
