//! The last route table on disk, so that a gateway serves from its first moment with the agent away.
//!
//! Holds digests, never tokens. Written whole, atomically; a file that is not what was written is ignored. The file's own
//! time says until when, at least, the table was the newest.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use palladium_proto::region::RouteTable;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::freshness::seconds;

const NAME: &str = "routes.pb";
const HASH: usize = 32;

/// Where the last table is kept.
#[derive(Clone)]
pub(crate) struct Snapshot(PathBuf);

impl Snapshot {
    pub(crate) fn new(data_folder: &Path) -> Self {
        Self(data_folder.join(NAME))
    }

    /// The last table, and until when it was the newest (Unix seconds); `None` at the first start, or when the file is
    /// damaged.
    pub(crate) fn read(&self) -> Option<(RouteTable, i64)> {
        let bytes = std::fs::read(&self.0).ok()?;
        let since = std::fs::metadata(&self.0).and_then(|file| file.modified()).ok()?;
        let (hash, content) = bytes.split_at_checked(HASH)?;
        let table = (Sha256::digest(content).as_slice() == hash)
            .then(|| RouteTable::decode(content).ok())
            .flatten();
        if table.is_none() {
            tracing::error!(file = %self.0.display(), "the last route table is damaged and ignored");
        }
        Some((table?, seconds(since)))
    }

    /// The table in the file is still the newest. Blocks: for a thread that may.
    pub(crate) fn touch(&self) -> std::io::Result<()> {
        let file = std::fs::File::options().append(true).open(&self.0)?;
        file.set_modified(SystemTime::now())
    }

    /// Keeps `table`. Blocks: for a thread that may.
    pub(crate) fn write(&self, table: &RouteTable) -> Result<(), palladium_os::Error> {
        let content = table.encode_to_vec();
        let mut bytes = Sha256::digest(&content).to_vec();
        bytes.extend(content);
        palladium_os::files::write_private(&self.0, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_ignored() {
        let folder = tempfile::tempdir().expect("temp folder");
        let snapshot = Snapshot::new(folder.path());
        assert!(snapshot.read().is_none());
        let table = RouteTable {
            version: 7,
            ..RouteTable::default()
        };
        snapshot.write(&table).expect("writable");
        let written = |snapshot: &Snapshot| snapshot.read().map(|(table, _)| table);
        assert_eq!(written(&snapshot), Some(table));
        let file = folder.path().join(NAME);
        let mut bytes = std::fs::read(&file).expect("there");
        *bytes.last_mut().expect("not empty") ^= 1;
        std::fs::write(&file, bytes).expect("writable");
        assert!(snapshot.read().is_none());
    }
}
