//! The process table, and its copy on disk: what runs, as whom, since when, and why something does not run.
//!
//! One idea: table and ledger are the same list; every change is on disk before it is shown to anybody. The file is replaced
//! whole. Must never hold a secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palladium_os::files::write_private;
use palladium_os::{Fingerprint, Process, boot_id};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::Error;

/// The file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// The boot in which the fingerprints hold.
    pub boot_id: String,
    /// Every process, by name.
    pub processes: Vec<Entry>,
}

/// One process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Name of the role, or `<project id>/<app id>` for a Dapr Server.
    pub name: String,
    /// Whom it is attested as; empty for a role without attestation.
    pub spiffe_id: String,
    /// Whether it runs.
    pub state: State,
    /// Which process it is; absent when it does not run.
    pub fingerprint: Option<Fingerprint>,
    /// Why it does not run.
    pub reason: String,
    /// How often it was started again.
    pub restarts: u32,
    /// When the last process was started, Unix milliseconds.
    pub started_at_unix_ms: i64,
    /// Of the last process that ended; -1 = unknown.
    pub exit_code: i32,
    /// Where it logs.
    pub log_file: PathBuf,
    /// The handle, while it runs.
    #[serde(skip)]
    pub(crate) process: Option<Arc<Process>>,
}

impl Entry {
    /// Whether the entry speaks of `process` or of none, and not of a successor.
    pub(crate) fn is_of(&self, process: Option<&Arc<Process>>) -> bool {
        match (&self.process, process) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(process)) => Arc::ptr_eq(own, process),
        }
    }
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It does.
    Running,
    /// The supervisor will start it again.
    BackingOff,
    /// It ended, and somebody else decides what follows.
    Exited,
}

impl Ledger {
    /// Reads a ledger; an empty one when there is no file.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        match std::fs::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }
}

/// The live table.
pub(crate) struct Table {
    path: PathBuf,
    entries: watch::Sender<BTreeMap<String, Entry>>,
    writing: Mutex<()>,
}

impl Table {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            entries: watch::Sender::default(),
            writing: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Entry> {
        self.entries.borrow().get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Entry> {
        self.entries.borrow().values().cloned().collect()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<BTreeMap<String, Entry>> {
        self.entries.subscribe()
    }

    /// Applies a change, on disk first. It is shown even if the disk refuses: the error then says that a killed supervisor
    /// would not find this again.
    pub(crate) async fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Entry>)) -> Result<(), Error> {
        let _one_at_a_time = self.writing.lock().await;
        let mut entries = self.entries.borrow().clone();
        change(&mut entries);
        let ledger = Ledger {
            boot_id: boot_id(),
            processes: entries.values().cloned().collect(),
        };
        let text = serde_json::to_vec_pretty(&ledger).map_err(|error| Error::Config(error.to_string()))?;
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || write_private(&path, &text)).await;
        self.entries.send_replace(entries);
        Ok(written??)
    }
}
