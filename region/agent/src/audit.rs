//! The region's own audit log: what happened here that an owner will ask about.
//!
//! The one idea: a chain of JSON lines, each with the hash of the one before, in a file of bounded size (one older file is
//! kept). It is written here and nowhere else, so a control plane cannot rewrite it. Must never hold a secret.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use palladium_kinds::Timestamp;
use palladium_sealing::sha256;
use serde::Serialize;

use crate::Error;
use crate::error::at;

/// One event.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Event<'a> {
    /// Who: a person or key as the control plane named it, or `region`.
    pub(crate) actor: &'a str,
    /// What, such as `appToken.read`.
    pub(crate) action: &'a str,
    /// To which object.
    pub(crate) object: &'a str,
    /// `allowed`, `denied`, `done`.
    pub(crate) outcome: &'a str,
}

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    at: Timestamp,
    #[serde(flatten)]
    event: &'a Event<'a>,
    prev: &'a str,
}

/// The log.
pub(crate) struct Audit {
    path: PathBuf,
    max_bytes: u64,
    state: Mutex<State>,
}

struct State {
    file: File,
    bytes: u64,
    seq: u64,
    prev: String,
}

impl Audit {
    /// Opens the log and finds its end. Blocks on local disk.
    pub(crate) fn open(path: PathBuf, max_bytes: u64) -> Result<Self, Error> {
        let mut file = append(&path)?;
        let bytes = file.metadata().map_err(at(&path))?.len();
        // The end alone is read: a line is far shorter than this.
        file.seek(SeekFrom::Start(bytes.saturating_sub(64 * 1024)))
            .map_err(at(&path))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end).map_err(at(&path))?;
        let mut last = last_line(&end).map(ToOwned::to_owned);
        if last.is_none() {
            let older = std::fs::read(path.with_extension("1.log")).unwrap_or_default();
            last = last_line(&older).map(ToOwned::to_owned);
        }
        let seq = last
            .as_deref()
            .and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .and_then(|line| line.get("seq").and_then(serde_json::Value::as_u64))
            .unwrap_or(0);
        if bytes > 0 && !end.ends_with(b"\n") {
            // A line that a crash cut short stays visible, on a line of its own.
            file.write_all(b"\n").map_err(at(&path))?;
        }
        let prev = last.as_deref().map(hash).unwrap_or_default();
        Ok(Self {
            path,
            max_bytes,
            state: Mutex::new(State { file, bytes, seq, prev }),
        })
    }

    /// Appends an event. Blocks on local disk; a failure is logged, because the act has happened.
    pub(crate) fn record(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.append(&mut state, event) {
            tracing::error!(%error, action = event.action, object = event.object, "audit event not written");
        }
    }

    fn append(&self, state: &mut State, event: &Event<'_>) -> Result<(), Error> {
        if state.bytes >= self.max_bytes {
            std::fs::rename(&self.path, self.path.with_extension("1.log")).map_err(at(&self.path))?;
            (state.file, state.bytes) = (append(&self.path)?, 0);
        }
        let line = Line {
            seq: state.seq + 1,
            at: Timestamp::now(),
            event,
            prev: &state.prev,
        };
        let mut line = serde_json::to_string(&line).map_err(|error| Error::Damaged {
            path: self.path.clone(),
            reason: error.to_string(),
        })?;
        let hash = hash(&line);
        line.push('\n');
        state
            .file
            .write_all(line.as_bytes())
            .and_then(|()| state.file.sync_data())
            .map_err(at(&self.path))?;
        state.bytes += line.len() as u64;
        state.seq += 1;
        state.prev = hash;
        Ok(())
    }
}

fn append(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(at(path))
}

fn last_line(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()?
        .lines()
        .rfind(|line| line.ends_with('}'))
}

fn hash(line: &str) -> String {
    sha256(line.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_holds_over_restarts_and_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        for n in 0..20 {
            let audit = Audit::open(path.clone(), 1_000).unwrap();
            let object = format!("object-{n}");
            audit.record(&Event {
                actor: "someone",
                action: "a",
                object: &object,
                outcome: "done",
            });
        }
        let text =
            std::fs::read_to_string(path.with_extension("1.log")).unwrap() + &std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2) {
            let (line, before): (serde_json::Value, &str) = (serde_json::from_str(pair[1]).unwrap(), pair[0]);
            assert_eq!(line["prev"], hash(before));
        }
        assert!(text.len() < 2_400 && lines.last().unwrap().contains("\"seq\":20"));
    }
}
