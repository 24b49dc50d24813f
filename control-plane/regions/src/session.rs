//! One session: replays the log from where the region's copy ends, and takes in what the region reports.
//!
//! The one idea: a session has no state of its own beside the place it has sent up to; when it breaks, the next one
//! starts from the region's `Hello`. Sending waits for the region (bounded queue), so a slow region slows only its own
//! session. Must never take what a region says about another region's log or objects: every call of the store names the
//! region of the certificate.

use std::sync::Arc;
use std::time::Duration;

use palladium_proto::region::{
    ControlMessage, Heartbeat, Hello, LogEntry, LogHeader, RegionMessage, SnapshotManifest, control_message::Message,
    region_message,
};
use palladium_stream::status::bound;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::Error;
use crate::join::{internal, now_ms};
use crate::log::Logs;
use crate::sessions::{Admitted, Sessions};
use crate::store::RegionStore;

/// Log rows read at a time.
const PAGE: u32 = 64;
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A region that is silent for longer is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// An epoch beyond this is nonsense.
const MAX_EPOCH: u64 = 1 << 32;

pub(crate) struct Session<'a> {
    pub(crate) region: &'a str,
    pub(crate) store: &'a Arc<dyn RegionStore>,
    pub(crate) logs: &'a Arc<Logs>,
    pub(crate) sessions: &'a Arc<Sessions>,
    pub(crate) sender: mpsc::Sender<Result<ControlMessage, Status>>,
}

/// How far this session has sent.
struct Sent {
    epoch: u64,
    seq: u64,
}

impl Session<'_> {
    /// Runs until the region goes away, falls silent, or the session is told to end.
    pub(crate) async fn run(
        &self,
        hello: &Hello,
        inbound: Streaming<RegionMessage>,
        admitted: &mut Admitted<'_>,
    ) -> Result<(), Status> {
        let end = admitted.end.clone();
        let outbound = async {
            let mut appended = self.logs.appended();
            appended.mark_unchanged();
            let mut sent = self.catch_up(hello).await?;
            // However the session begins: a region's word that something is deleted may have been lost with the last one.
            self.logs
                .repeat_deletions(self.region, sent.epoch, sent.seq)
                .await
                .map_err(log_error)?;
            let mut heartbeat = tokio::time::interval(HEARTBEAT);
            loop {
                self.send_rows(&mut sent).await?;
                tokio::select! {
                    changed = appended.changed() => changed.map_err(|_| Status::unavailable("stopping"))?,
                    request = admitted.requests.recv() => match request {
                        Some(request) => self.send(request).await?,
                        None => return Ok(()),
                    },
                    _ = heartbeat.tick() => {
                        let beat = Message::Heartbeat(Heartbeat { sent_at_unix_ms: now_ms() });
                        self.send(ControlMessage { message: Some(beat) }).await?;
                    }
                }
            }
        };
        tokio::select! {
            result = outbound => result,
            result = self.receive(inbound) => result,
            () = end.wait() => Err(Status::aborted("a newer session of this region takes over")),
        }
    }

    /// Brings the region to a place from which the log can be replayed: nothing, or a snapshot.
    async fn catch_up(&self, hello: &Hello) -> Result<Sent, Status> {
        let own = self.store.position(self.region).await.map_err(internal)?;
        if hello.epoch > MAX_EPOCH {
            return Err(Status::invalid_argument("epoch out of range"));
        }
        let ahead = hello.epoch > own.epoch || hello.epoch == own.epoch && hello.seq > own.seq;
        let forked = hello.epoch == own.epoch && hello.seq == own.seq && hello.seq > 0 && hello.head != own.head;
        if ahead || forked {
            return self.start_epoch(hello).await;
        }
        if hello.epoch == own.epoch
            && hello.seq == own.seq
            && (hello.seq > 0 || own.epoch > 1 && hello.head == own.head)
        {
            return Ok(Sent {
                epoch: own.epoch,
                seq: own.seq,
            });
        }
        if hello.epoch == own.epoch && hello.seq > 0 {
            let next = self
                .store
                .rows_after(self.region, own.epoch, hello.seq, 1)
                .await
                .map_err(internal)?;
            if let Some(next) = next.first().filter(|row| row.seq == hello.seq + 1) {
                let header = LogHeader::decode(next.header.clone()).map_err(|_| Status::internal("own header"))?;
                if header.prev == hello.head {
                    return Ok(Sent {
                        epoch: own.epoch,
                        seq: hello.seq,
                    });
                }
                return self.start_epoch(hello).await;
            }
        }
        self.send_snapshot().await
    }

    /// The region's copy and this database have parted: the database was restored from a backup.
    async fn start_epoch(&self, hello: &Hello) -> Result<Sent, Status> {
        let epoch = self.logs.new_epoch(self.region, hello.epoch).await.map_err(log_error)?;
        tracing::error!(
            region = self.region,
            epoch,
            region_epoch = hello.epoch,
            region_seq = hello.seq,
            "the region has seen what this database does not hold: it was restored; a new epoch begins"
        );
        self.send_snapshot().await
    }

    async fn send_snapshot(&self) -> Result<Sent, Status> {
        let snapshot = self.logs.snapshot(self.region).await.map_err(log_error)?;
        let manifest =
            SnapshotManifest::decode(snapshot.manifest.clone()).map_err(|_| Status::internal("own manifest"))?;
        self.send(ControlMessage {
            message: Some(Message::Snapshot(snapshot)),
        })
        .await?;
        Ok(Sent {
            epoch: manifest.epoch,
            seq: manifest.seq,
        })
    }

    async fn send_rows(&self, sent: &mut Sent) -> Result<(), Status> {
        loop {
            let rows = self
                .store
                .rows_after(self.region, sent.epoch, sent.seq, PAGE)
                .await
                .map_err(internal)?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                if row.seq != sent.seq + 1 {
                    // Trimmed under our feet; the next session begins with a snapshot.
                    return Err(Status::aborted("the log moved on; connect again"));
                }
                sent.seq = row.seq;
                let entry = LogEntry {
                    header: row.header,
                    signature: row.signature,
                    payload: row.payload,
                };
                self.send(ControlMessage {
                    message: Some(Message::Entry(entry)),
                })
                .await?;
            }
        }
    }

    async fn send(&self, message: ControlMessage) -> Result<(), Status> {
        self.sender
            .send(Ok(message))
            .await
            .map_err(|_| Status::cancelled("the region is gone"))
    }

    async fn receive(&self, mut inbound: Streaming<RegionMessage>) -> Result<(), Status> {
        loop {
            let next = tokio::time::timeout(SILENCE, inbound.message()).await;
            let Some(message) = next.map_err(|_| Status::deadline_exceeded("the region fell silent"))?? else {
                return Ok(());
            };
            match message.message {
                Some(region_message::Message::Ack(ack)) => {
                    let own = self.store.position(self.region).await.map_err(internal)?;
                    if ack.epoch == own.epoch && ack.seq <= own.seq {
                        self.store
                            .trim(self.region, ack.epoch, ack.seq)
                            .await
                            .map_err(internal)?;
                    }
                }
                Some(region_message::Message::ObjectStatus(mut status)) => {
                    if let Some(bytes) = bound(&mut status) {
                        let (region, uid) = (self.region, &status.uid);
                        tracing::warn!(region, uid, bytes, "the details of a status are left out: too large");
                    }
                    self.store.report(self.region, status).await.map_err(internal)?;
                }
                Some(region_message::Message::SealedConfirmation(confirmation)) => {
                    self.store
                        .confirm_sealed(self.region, confirmation)
                        .await
                        .map_err(internal)?;
                }
                Some(region_message::Message::ReadBack(response)) => self.sessions.answered(self.region, response),
                Some(region_message::Message::Heartbeat(_)) => {}
                Some(region_message::Message::Hello(_)) | None => {
                    return Err(Status::invalid_argument("unexpected message"));
                }
            }
        }
    }
}

fn log_error(error: Error) -> Status {
    tracing::error!(%error, "region log failed");
    Status::unavailable("the control plane cannot read the region's log now")
}
