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
    /// How many it stands for.
    #[serde(skip_serializing_if = "is_one")]
    pub(crate) count: u32,
}

fn is_one(count: &u32) -> bool {
    *count == 1
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
        let mut last = last_line(&end);
        if last.is_none() {
            last = last_line(&std::fs::read(path.with_extension("1.log")).unwrap_or_default());
        }
        let mut bytes = bytes;
        if bytes > 0 && !end.ends_with(b"\n") {
            // A line that a crash cut short stays visible, on a line of its own.
            file.write_all(b"\n").map_err(at(&path))?;
            bytes += 1;
        }
        let (seq, prev) = last.map(|(seq, line)| (seq, hash(&line))).unwrap_or_default();
        Ok(Self {
            path,
            max_bytes,
            state: Mutex::new(State { file, bytes, seq, prev }),
        })
    }

    /// Appends an event whose act has happened. Blocks on local disk; a failure is logged.
    pub(crate) fn record(&self, event: &Event<'_>) {
        // Logged where it arose; the act cannot be taken back.
        let _ = self.record_before(event);
    }

    /// Appends an event whose act must not happen unrecorded. Blocks on local disk.
    ///
    /// # Errors
    /// When it is not on disk; nothing of it is in the log then.
    pub(crate) fn record_before(&self, event: &Event<'_>) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.append(&mut state, event);
        if let Err(error) = &written {
            tracing::error!(%error, action = event.action, object = event.object, "audit event not written");
            // Half a line, as a full disk leaves it, must not stand in front of the next one.
            if let Err(error) = state.file.set_len(state.bytes) {
                tracing::error!(%error, "the audit log cannot be cut back");
            }
        }
        written
    }

    fn append(&self, state: &mut State, event: &Event<'_>) -> Result<(), Error> {
        if state.bytes >= self.max_bytes {
            match std::fs::rename(&self.path, self.path.with_extension("1.log")) {
                // An earlier attempt got so far.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(&self.path)(error)),
                _ => {}
            }
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

/// The last whole line and its number. The first bytes may be the middle of a character.
fn last_line(bytes: &[u8]) -> Option<(u64, String)> {
    bytes.split(|byte| *byte == b'\n').rev().find_map(|line| {
        let value: serde_json::Value = serde_json::from_slice(line).ok()?;
        Some((value.get("seq")?.as_u64()?, std::str::from_utf8(line).ok()?.to_owned()))
    })
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
                count: 1,
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

    fn event(object: &str) -> Event<'_> {
        Event {
            actor: "Jürgen",
            action: "a",
            object,
            outcome: "done",
            count: 1,
        }
    }

    #[test]
    fn the_chain_goes_on_behind_a_cut_line_and_in_the_middle_of_a_character() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let audit = Audit::open(path.clone(), 1 << 20).unwrap();
        // Longer than what is read at the start, with two bytes in each character: wherever it begins, one is cut.
        for _ in 0..2 {
            audit.record(&event(&"ü".repeat(17_000)));
            audit.record(&event(&format!("x{}", "ü".repeat(17_000))));
        }
        drop(audit);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"seq":5,"at":"2026-11-24T00:00:00Z","actor":{}"#)
            .unwrap();
        let audit = Audit::open(path.clone(), 1 << 20).unwrap();
        audit.record(&event("next"));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let last: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
        assert_eq!((&last["seq"], &last["prev"]), (&5.into(), &hash(lines[3]).into()));
    }

    #[test]
    fn what_cannot_be_recorded_is_an_error_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let audit = Audit::open(path.clone(), 10).unwrap();
        audit.record(&event("one"));
        // No file can be made where the log should go on.
        std::fs::create_dir(path.with_extension("1.log")).unwrap();
        assert!(audit.record_before(&event("two")).is_err());
        std::fs::remove_dir(path.with_extension("1.log")).unwrap();
        audit.record_before(&event("three")).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            text.contains("\"seq\":2") && text.contains("three") && !text.contains("two"),
            "{text}"
        );
    }
}
