//! Last-known-good on disk: signed snapshots, each followed by the signed entries after it.
//!
//! The one idea: what is kept is exactly what was signed, and it is verified again at every start; so nobody can change
//! the files and be believed. Entries are appended and synced before they are acknowledged. A damaged end of a log is
//! cut off and kept aside; a damaged snapshot means the generation before it. Blocks on local disk. Must never return
//! from `append` or `install` before record and high-water mark are durable, nor append behind a record that was not
//! acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use palladium_os::files::write_private;
use palladium_proto::region::{LogEntry, LogHeader, Snapshot};
use palladium_stream::MAX_PAYLOAD;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::verify::{LogKey, Object, Position};
use crate::Error;
use crate::error::at;
use crate::vault::Vault;

/// Generations that are kept: the one in use and the one before it.
const GENERATIONS: usize = 2;
/// Entries after which the region asks for a fresh snapshot.
const LONG_LOG: u64 = 5_000;
const HIGH_WATER: &str = "high-water";

/// What was found at start.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) position: Position,
    /// The snapshot's objects, then the entries in order.
    pub(crate) objects: Vec<Object>,
    pub(crate) entries: Vec<(LogHeader, Bytes)>,
    /// What was wrong, for the log and the audit.
    pub(crate) damage: Vec<String>,
}

/// The files.
pub(crate) struct Disk {
    folder: PathBuf,
    marks: Vault,
    log: Option<(PathBuf, File)>,
    length: u64,
    entries: u64,
}

/// The furthest position ever acknowledged; wrapped, so that an older copy of the folder is noticed.
#[derive(Serialize, Deserialize)]
struct HighWater {
    epoch: u64,
    seq: u64,
}

impl Disk {
    /// Opens the folder and verifies what is there.
    pub(crate) fn open(folder: &Path, marks: Vault, key: &LogKey, region: &str) -> Result<(Self, Loaded), Error> {
        palladium_os::files::private_folder(folder)?;
        let mut disk = Self {
            folder: folder.to_owned(),
            marks,
            log: None,
            length: 0,
            entries: 0,
        };
        let mut loaded = Loaded::default();
        for name in disk.generations()? {
            match disk.load(&name, key, region, &mut loaded) {
                Ok(()) => break,
                Err(reason) => {
                    loaded
                        .damage
                        .push(format!("desired state {name} is not used: {reason}"));
                    (loaded.objects, loaded.entries) = (Vec::new(), Vec::new());
                }
            }
        }
        if let Some(mark) = disk.marks.read::<HighWater>(HIGH_WATER)?
            && (mark.epoch, mark.seq) > (loaded.position.epoch, loaded.position.seq)
        {
            loaded.damage.push(format!(
                "this region has seen epoch {} seq {}, but its copy ends at epoch {} seq {}: it was rolled back or damaged",
                mark.epoch, mark.seq, loaded.position.epoch, loaded.position.seq
            ));
        }
        Ok((disk, loaded))
    }

    /// Makes an entry durable; returns when it is.
    pub(crate) fn append(&mut self, entry: &LogEntry, after: &Position) -> Result<(), Error> {
        let Some((path, file)) = &mut self.log else {
            return Err(Error::Damaged {
                path: self.folder.clone(),
                reason: "there is no log to append to; the next snapshot begins one".to_owned(),
            });
        };
        let path = path.clone();
        let body = entry.encode_to_vec();
        let mut record = Vec::with_capacity(body.len() + 4);
        record.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        record.extend_from_slice(&body);
        let written = file.write_all(&record).and_then(|()| file.sync_data());
        let marked = written.map_err(at(&path)).and_then(|()| self.mark(after));
        if let Err(error) = marked {
            // A full disk: neither half a record nor one that was not acknowledged may stand in front of the next one.
            self.cut_back();
            return Err(error);
        }
        self.length += record.len() as u64;
        self.entries += 1;
        Ok(())
    }

    /// Takes back what was written behind the last good record; when that fails too, the log is not used any more.
    fn cut_back(&mut self) {
        let Some((path, file)) = &self.log else { return };
        if let Err(error) = file.set_len(self.length) {
            tracing::error!(path = %path.display(), %error, "the log cannot be cut back; nothing is appended to it any more");
            self.log = None;
        }
    }

    /// Makes a snapshot the new generation.
    pub(crate) fn install(&mut self, snapshot: &Snapshot, position: &Position) -> Result<(), Error> {
        let name = format!("{:010}-{:020}", position.epoch, position.seq);
        // The log first: a snapshot without a log beside it is complete, a stale log behind a new snapshot is not.
        let log = self.folder.join(format!("{name}.log"));
        write_private(&log, &[])?;
        write_private(&self.folder.join(format!("{name}.snapshot")), &snapshot.encode_to_vec())?;
        // Until all of it is done there is no log: entries must not go behind a snapshot that was not acknowledged.
        self.log = None;
        (self.length, self.entries) = (0, 0);
        self.mark(position)?;
        self.open_log(&name).map_err(at(&log))?;
        for old in self.generations()?.into_iter().skip(GENERATIONS) {
            for extension in ["snapshot", "log", "damaged"] {
                // What cannot be removed now is tried again with the next snapshot.
                let _ = fs::remove_file(self.folder.join(format!("{old}.{extension}")));
            }
        }
        Ok(())
    }

    /// Whether a fresh snapshot would be welcome: the log is long, or there is none to append to.
    pub(crate) fn wants_snapshot(&self) -> bool {
        self.entries >= LONG_LOG || self.log.is_none()
    }

    fn mark(&self, position: &Position) -> Result<(), Error> {
        self.marks.write(
            HIGH_WATER,
            &HighWater {
                epoch: position.epoch,
                seq: position.seq,
            },
        )
    }

    /// Names of the generations, newest first.
    fn generations(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(at(&self.folder))? {
            let name = entry
                .map_err(at(&self.folder))?
                .file_name()
                .to_string_lossy()
                .into_owned();
            names.extend(name.strip_suffix(".snapshot").map(ToOwned::to_owned));
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }

    fn load(&mut self, name: &str, key: &LogKey, region: &str, loaded: &mut Loaded) -> Result<(), String> {
        let text = |error: io::Error| error.to_string();
        let bytes = fs::read(self.folder.join(format!("{name}.snapshot"))).map_err(text)?;
        let snapshot = Snapshot::decode(bytes.as_slice()).map_err(|_| "it cannot be decoded".to_owned())?;
        let nothing = Position::default();
        let (objects, mut position) = key
            .snapshot(region, &nothing, u64::MAX, &snapshot)
            .map_err(|refusal| refusal.to_string())?;
        (self.length, self.entries) = (0, 0);
        let path = self.folder.join(format!("{name}.log"));
        let log = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(text)?,
        };
        let mut rest = log.as_slice();
        let mut intact = Ok(());
        while !rest.is_empty() {
            match next(&mut rest).and_then(|entry| key.entry(region, &position, &entry).ok().map(|good| (entry, good)))
            {
                Some((entry, (header, after))) => {
                    position = after;
                    self.length = (log.len() - rest.len()) as u64;
                    self.entries += 1;
                    loaded.entries.push((header, entry.payload));
                }
                None => {
                    loaded.damage.push(format!(
                        "the log after {name} is damaged behind seq {}: {} bytes are cut off and kept in {name}.damaged",
                        position.seq,
                        log.len() as u64 - self.length
                    ));
                    intact = fs::copy(&path, self.folder.join(format!("{name}.damaged"))).map(|_| ());
                    break;
                }
            }
        }
        (loaded.objects, loaded.position) = (objects, position);
        // A full disk takes no copy; what is good is good all the same, and the next snapshot begins another log.
        if let Err(error) = intact.and_then(|()| self.open_log(name)) {
            self.log = None;
            let damage = format!("the log after {name} stays as it is and is not appended to: {error}");
            loaded.damage.push(damage);
        }
        Ok(())
    }

    /// Opens the generation's log for appending behind the last good record.
    fn open_log(&mut self, name: &str) -> io::Result<()> {
        let path = self.folder.join(format!("{name}.log"));
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        if file.metadata()?.len() != self.length {
            file.set_len(self.length)?;
            file.sync_all()?;
        }
        self.log = Some((path, file));
        Ok(())
    }
}

/// Takes one record from the front; `None` when it is cut short or nonsense.
fn next(rest: &mut &[u8]) -> Option<LogEntry> {
    let (length, body) = rest.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    // A record is a payload and about three hundred bytes around it.
    if length > MAX_PAYLOAD + 64 * 1024 {
        return None;
    }
    let (record, behind) = body.split_at_checked(length)?;
    let entry = LogEntry::decode(record).ok()?;
    *rest = behind;
    Some(entry)
}
