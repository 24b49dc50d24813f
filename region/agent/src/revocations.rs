//! From when on an App ID's SVIDs count: set when an App ID is deleted, so that the next one of that name is not it.
//!
//! One idea: a small JSON file; an entry is a name and an instant, and goes when no certificate can be left that it voids.
//! Blocks on local disk. Must never forget one that a living certificate could need.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::{Error, json_file};

/// Longer than any workload's certificate lives: an hour unless Sentry is told otherwise, and it is renewed at half of its
/// life, which a revoked one is not.
const LONGEST_LEAF_S: i64 = 400 * 24 * 3600;

/// Unix seconds by `<project id>/<app id>`.
pub(crate) struct Revocations {
    path: PathBuf,
    before: Mutex<BTreeMap<String, i64>>,
}

impl Revocations {
    /// Reads the file; what voids nothing any more at `now_s` is left out.
    pub(crate) fn open(path: PathBuf, now_s: i64) -> Result<Self, Error> {
        let mut before: BTreeMap<_, _> = json_file::read(&path)?.unwrap_or_default();
        forget_old(&mut before, now_s);
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
        forget_old(&mut next, unix_s);
        next.insert(name.to_owned(), unix_s);
        json_file::write(&self.path, &next)?;
        *before = next;
        Ok(())
    }
}

fn forget_old(before: &mut BTreeMap<String, i64>, now_s: i64) {
    before.retain(|_, unix_s| *unix_s > now_s.saturating_sub(LONGEST_LEAF_S));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_void_no_certificate_any_more_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let open = |now_s| Revocations::open(folder.path().join("revocations.json"), now_s).unwrap();
        let revocations = open(0);
        revocations.revoke("prj-a/old", 1_000).unwrap();
        revocations.revoke("prj-a/young", 2_000).unwrap();
        let later = 1_000 + LONGEST_LEAF_S;
        revocations.revoke("prj-a/new", later).unwrap();
        let kept =
            |revocations: &Revocations| ["old", "young", "new"].map(|app| revocations.before(&format!("prj-a/{app}")));
        assert_eq!(kept(&revocations), [0, 2_000, later]);
        assert_eq!(kept(&open(later)), [0, 2_000, later]);
        assert_eq!(kept(&open(later + 1_000)), [0, 0, later]);
        assert!(
            !std::fs::read_to_string(folder.path().join("revocations.json"))
                .unwrap()
                .contains("old")
        );
    }
}
