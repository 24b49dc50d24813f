//! When each token was last used, as gateways tell it.
//!
//! One idea: two instants for each token, the last use and the one that is shown. What is shown follows in steps, and to the
//! end when the calls have ended, because each step of each App ID is a write to the control plane's database. Must never
//! hold more of a token than its public id.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Error, json_file};

/// How far what is shown of a token in use may be behind, seconds.
const STEP: i64 = 5 * 60;

/// Unix seconds.
#[derive(Clone, Copy)]
struct Use {
    last: i64,
    shown: i64,
}

/// By the tokens' ids.
pub(super) struct Uses {
    path: PathBuf,
    of: Mutex<BTreeMap<String, Use>>,
}

impl Uses {
    /// Reads the file; a damaged one is as good as none: nothing depends on it. Blocks on local disk.
    pub(super) fn open(path: PathBuf) -> Self {
        let kept: Option<BTreeMap<String, i64>> = json_file::read(&path).unwrap_or_else(|error| {
            tracing::warn!(%error, "when tokens were last used is not known any more");
            None
        });
        let of = kept.into_iter().flatten();
        let of = of.map(|(id, last)| (id, Use { last, shown: last }));
        Self {
            path,
            of: Mutex::new(of.collect()),
        }
    }

    fn of(&self) -> MutexGuard<'_, BTreeMap<String, Use>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A use at `unix_s`; answers whether what is shown is so far behind that it should be looked at now.
    pub(super) fn note(&self, id: &str, unix_s: i64) -> bool {
        let mut of = self.of();
        let new = Use { last: 0, shown: 0 };
        let one = of.entry(id.to_owned()).or_insert(new);
        one.last = one.last.max(unix_s);
        one.last - one.shown >= STEP
    }

    /// What is to be shown at `now`.
    pub(super) fn shown(&self, id: &str, now: i64) -> Option<i64> {
        let mut of = self.of();
        let one = of.get_mut(id)?;
        if one.last - one.shown >= STEP || now - one.last >= STEP {
            one.shown = one.last;
        }
        Some(one.shown)
    }

    /// Writes the file and forgets tokens that are not `known` any more. Blocks on local disk.
    pub(super) fn keep(&self, known: &HashSet<String>) -> Result<(), Error> {
        let kept: BTreeMap<String, i64> = {
            let mut of = self.of();
            of.retain(|id, _| known.contains(id));
            of.iter().map(|(id, one)| (id.clone(), one.last)).collect()
        };
        json_file::write(&self.path, &kept)
    }
}
