//! Version numbers that grow for ever: how often the agent was started, then a counter.
//!
//! One idea: one small file written once per start; no clock is trusted. A table's version is never used twice.

use std::path::Path;

use palladium_os::files::write_private;
use tokio::sync::watch;

use crate::Error;
use crate::error::at;

/// Counts changes of anything that views are made from.
pub(crate) struct Versions {
    base: u64,
    changed: watch::Sender<u64>,
}

impl Versions {
    /// Begins the next start. Blocks on local disk.
    pub(crate) fn open(data_folder: &Path) -> Result<Self, Error> {
        let path = data_folder.join("starts");
        let starts: u64 = match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| Error::Damaged {
                path: path.clone(),
                reason: "not a number; write a larger one than any before".to_owned(),
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(at(&path)(error)),
        };
        write_private(&path, (starts + 1).to_string().as_bytes())?;
        Ok(Self {
            base: (starts + 1) << 32,
            changed: watch::Sender::new(1),
        })
    }

    /// Something changed: everybody who watches looks again.
    pub(crate) fn bump(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// For waiting on the next change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The version that belongs to a count seen in [`Self::subscribe`].
    pub(crate) fn version(&self, count: u64) -> u64 {
        self.base + count
    }
}
