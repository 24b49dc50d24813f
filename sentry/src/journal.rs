//! Phase five: what was issued and what was refused, one line of JSON each.
//!
//! One idea: bounded. Two files of at most [`MAX_BYTES`] each, a queue of [`QUEUE`] records; a flood of refusals costs
//! neither disk nor memory, and records that found no room are counted in the next one that does.
//! Never a token, a key or a whole certificate.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use palladium_tasks::Shutdown;
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{fs, io::AsyncWriteExt, sync::mpsc};

const MAX_BYTES: u64 = 8 * 1024 * 1024;
const QUEUE: usize = 1024;

/// Name of the newest file in the data folder; the one before it ends in `.1`.
pub(crate) const FILE: &str = "journal.jsonl";

/// One record.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Record {
    pub(crate) time: String,
    /// `issued` or `refused`.
    pub(crate) event: &'static str,
    /// Which authority: `workload` or `edge`.
    pub(crate) authority: &'static str,
    /// Namespace and id as asked for, cut to a sane length.
    pub(crate) requested: String,
    /// How the caller proved itself: an attestor's name, or `svid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proof: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<String>,
    /// Records lost before this one because the queue was full.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) lost: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Record {
    pub(crate) fn new(event: &'static str, authority: &'static str, namespace: &str, id: &str) -> Self {
        let cut = |text: &str| text.chars().take(128).collect::<String>();
        Self {
            time: rfc3339(OffsetDateTime::now_utc()),
            event,
            authority,
            requested: format!("{}/{}", cut(namespace), cut(id)),
            proof: None,
            id: None,
            serial: None,
            not_after: None,
            reason: None,
            remote: None,
            lost: 0,
        }
    }
}

pub(crate) fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

/// Where records go. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    queue: mpsc::Sender<Record>,
    lost: Arc<AtomicU64>,
}

impl Journal {
    /// The journal and its writer, which some task must run.
    pub(crate) fn new(folder: &Path) -> (Self, Writer) {
        let (queue, records) = mpsc::channel(QUEUE);
        (
            Self {
                queue,
                lost: Arc::default(),
            },
            Writer {
                path: folder.join(FILE),
                records,
            },
        )
    }

    /// Queues a record without waiting.
    pub(crate) fn record(&self, mut record: Record) {
        record.lost = self.lost.swap(0, Ordering::Relaxed);
        if let Err(mpsc::error::TrySendError::Full(record)) = self.queue.try_send(record) {
            self.lost.fetch_add(record.lost + 1, Ordering::Relaxed);
        }
    }
}

/// Writes records to disk.
pub(crate) struct Writer {
    path: PathBuf,
    records: mpsc::Receiver<Record>,
}

impl Writer {
    /// Writes until `shutdown`, then what is still queued.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        while let Some(Some(record)) = shutdown.unless(self.records.recv()).await {
            self.write(&record).await;
        }
        while let Ok(record) = self.records.try_recv() {
            self.write(&record).await;
        }
    }

    async fn write(&self, record: &Record) {
        if let Err(error) = self.append(record).await {
            tracing::error!(%error, path = %self.path.display(), "journal not written");
        }
    }

    async fn append(&self, record: &Record) -> std::io::Result<()> {
        if fs::metadata(&self.path).await.is_ok_and(|file| file.len() > MAX_BYTES) {
            fs::rename(&self.path, self.path.with_extension("jsonl.1")).await?;
        }
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)
            .await?;
        file.write_all(&line).await?;
        file.flush().await
    }
}
