//! From the store's changes to a region's log.
//!
//! The one idea: one task turns changes into signed entries in the order of the feed, whether the region is connected or
//! not; sessions only read. Several changes of one object in one batch become one entry with its newest state, because the
//! log says what is wanted, not what was. Must never skip a change or sign anything but what is stored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use palladium_proto::region::{LogHeader, Op, Snapshot, SnapshotManifest, SnapshotObject};
use palladium_sealing::sha256;
use palladium_stream::{MAX_PAYLOAD, Payload, PayloadMetadata, signed};
use palladium_tasks::{Backoff, Shutdown};
use prost::Message as _;
use tokio::sync::watch;

use crate::store::{DesiredObject, LogRow, Position, RegionStore};
use crate::{Error, LogSigner};

/// Changes read at a time.
const BATCH: u32 = 256;

/// Makes and reads the logs of all regions.
pub(crate) struct Logs {
    store: Arc<dyn RegionStore>,
    signer: Arc<LogSigner>,
    kept: u64,
    /// Grows with every append.
    appended: watch::Sender<u64>,
    /// Appending and moving to a new epoch exclude each other.
    writing: tokio::sync::Mutex<()>,
}

impl Logs {
    pub(crate) fn new(store: Arc<dyn RegionStore>, signer: Arc<LogSigner>, kept: u32) -> Self {
        let appended = watch::Sender::new(0);
        Self {
            store,
            signer,
            kept: u64::from(kept),
            appended,
            writing: tokio::sync::Mutex::new(()),
        }
    }

    /// Grows after every append to any log.
    pub(crate) fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    /// Follows the store's changes until `shutdown`.
    pub(crate) async fn follow(&self, shutdown: Shutdown) {
        let mut changed = self.store.changed();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        loop {
            changed.mark_unchanged();
            let wait = match self.append_all().await {
                Ok(()) => {
                    backoff.reset();
                    // The timer only repairs what a lost signal would have missed.
                    Duration::from_secs(30)
                }
                Err(error) => {
                    tracing::error!(%error, "region logs are behind the store");
                    backoff.next_delay()
                }
            };
            let next = async {
                let _ = tokio::time::timeout(wait, changed.changed()).await;
            };
            if shutdown.unless(next).await.is_none() {
                return;
            }
        }
    }

    async fn append_all(&self) -> Result<(), Error> {
        for region in self.store.region_ids().await? {
            while self.append_batch(&region).await? {}
        }
        Ok(())
    }

    /// Appends one batch; `true` when there may be more.
    async fn append_batch(&self, region: &str) -> Result<bool, Error> {
        let _writing = self.writing.lock().await;
        let from = self.store.position(region).await?;
        let changes = self.store.changes_after(region, from.cursor, BATCH).await?;
        let Some(last) = changes.last() else { return Ok(false) };
        let full = changes.len() == BATCH as usize;
        let mut to = Position {
            cursor: last.cursor,
            ..from.clone()
        };
        let mut newest: HashMap<String, usize> = HashMap::new();
        for (index, change) in changes.iter().enumerate() {
            if let Some(object) = &change.object {
                newest.insert(object.uid.clone(), index);
            }
        }
        let mut rows = Vec::with_capacity(newest.len());
        for (index, change) in changes.iter().enumerate() {
            let Some(object) = change
                .object
                .as_ref()
                .filter(|object| newest.get(&object.uid) == Some(&index))
            else {
                continue;
            };
            match self.row(region, object, &mut to) {
                Ok(row) => rows.push(row),
                // One object that cannot be told must not stop the others.
                Err(error) => tracing::error!(%error, region, "object left out of the region's log"),
            }
        }
        self.store.append(region, &from, rows, &to).await?;
        if to.seq > self.kept {
            self.store.trim(region, to.epoch, to.seq - self.kept).await?;
        }
        self.appended.send_modify(|count| *count += 1);
        Ok(full)
    }

    fn row(&self, region: &str, object: &DesiredObject, to: &mut Position) -> Result<LogRow, Error> {
        let (op, payload) = if object.deleting {
            (Op::Delete, Bytes::new())
        } else {
            (Op::Put, payload(object)?)
        };
        let header = LogHeader {
            seq: to.seq + 1,
            prev: to.head.clone(),
            ..header(region, to.epoch, op, object, &payload)
        };
        let (header, signature) = self.signer.entry(&header);
        to.seq += 1;
        to.head = Bytes::copy_from_slice(&signed::head(&header));
        Ok(LogRow {
            epoch: to.epoch,
            seq: to.seq,
            header,
            signature,
            payload,
        })
    }

    /// Everything that the region shall have, at the end of its log; objects that are being deleted are not in it.
    pub(crate) async fn snapshot(&self, region: &str) -> Result<Snapshot, Error> {
        let _writing = self.writing.lock().await;
        let position = self.store.position(region).await?;
        let (_, objects) = self.store.objects(region).await?;
        let mut list = Vec::with_capacity(objects.len());
        for object in objects.iter().filter(|object| !object.deleting) {
            let payload = match payload(object) {
                Ok(payload) => payload,
                Err(error) => {
                    tracing::error!(%error, region, "object left out of the region's snapshot");
                    continue;
                }
            };
            let header = signed::snapshot_header(&header(region, position.epoch, Op::Put, object, &payload));
            list.push(SnapshotObject {
                header: header.encode_to_vec().into(),
                payload,
            });
        }
        let manifest = SnapshotManifest {
            region_id: region.to_owned(),
            epoch: position.epoch,
            seq: position.seq,
            head: position.head,
            objects_sha256: Bytes::copy_from_slice(&signed::objects(&list)),
        };
        let (manifest, signature) = self.signer.manifest(&manifest);
        Ok(Snapshot {
            manifest,
            signature,
            objects: list,
        })
    }

    /// Repeats the deletions that are not among the rows after `seq`, so that the region reports them as done: it may never
    /// have seen them (a snapshot), or its report was lost. A deletion of what a region does not have is done at once.
    pub(crate) async fn repeat_deletions(&self, region: &str, epoch: u64, seq: u64) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        let from = self.store.position(region).await?;
        let (_, objects) = self.store.objects(region).await?;
        if !objects.iter().any(|object| object.deleting) {
            return Ok(());
        }
        let coming = self.deletions_after(region, epoch, seq).await?;
        let mut to = from.clone();
        let mut rows = Vec::new();
        let pending = |object: &&DesiredObject| object.deleting && !coming.contains(&object.uid);
        for object in objects.iter().filter(pending) {
            rows.push(self.row(region, object, &mut to)?);
        }
        if !rows.is_empty() {
            self.store.append(region, &from, rows, &to).await?;
            self.appended.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// Uids whose deletion stands in the kept rows after `seq`.
    async fn deletions_after(&self, region: &str, epoch: u64, mut seq: u64) -> Result<HashSet<String>, Error> {
        let mut uids = HashSet::new();
        loop {
            let rows = self.store.rows_after(region, epoch, seq, BATCH).await?;
            let Some(last) = rows.last() else { return Ok(uids) };
            seq = last.seq;
            let headers = rows.iter().filter_map(|row| LogHeader::decode(row.header.clone()).ok());
            uids.extend(
                headers
                    .filter(|header| header.op() == Op::Delete)
                    .map(|header| header.uid),
            );
        }
    }

    /// Starts an epoch above both the region's and our own: the database is older than what the region has seen.
    pub(crate) async fn new_epoch(&self, region: &str, seen: u64) -> Result<u64, Error> {
        let _writing = self.writing.lock().await;
        let from = self.store.position(region).await?;
        let to = Position {
            epoch: from.epoch.max(seen) + 1,
            seq: 0,
            ..from.clone()
        };
        self.store.append(region, &from, Vec::new(), &to).await?;
        self.store.trim(region, to.epoch, 0).await?;
        Ok(to.epoch)
    }
}

fn header(region: &str, epoch: u64, op: Op, object: &DesiredObject, payload: &[u8]) -> LogHeader {
    LogHeader {
        region_id: region.to_owned(),
        epoch,
        seq: 0,
        prev: Bytes::new(),
        op: op.into(),
        kind: object.kind.clone(),
        project_id: object.project_id.clone(),
        name: object.name.clone(),
        uid: object.uid.clone(),
        generation: object.generation,
        payload_sha256: Bytes::copy_from_slice(&sha256(payload)),
    }
}

fn payload(object: &DesiredObject) -> Result<Bytes, Error> {
    let refuse = |reason: String| Error::Payload {
        kind: object.kind.clone(),
        uid: object.uid.clone(),
        reason,
    };
    let payload = Payload {
        api_version: object.api_version.clone(),
        kind: object.kind.clone(),
        metadata: PayloadMetadata {
            name: object.name.clone(),
            uid: object.uid.clone(),
            generation: object.generation,
            project_id: object.project_id.clone(),
            project_name: object.project_name.clone(),
            labels: object.labels.clone(),
            annotations: object.annotations.clone(),
        },
        sealed: object.sealed.clone(),
        content: object.content.clone(),
    };
    let json = serde_json::to_vec(&payload).map_err(|error| refuse(error.to_string()))?;
    if json.len() > MAX_PAYLOAD {
        return Err(refuse(format!("it has more than {MAX_PAYLOAD} bytes")));
    }
    Ok(json.into())
}
