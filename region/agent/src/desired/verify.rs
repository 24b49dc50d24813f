//! Is this the next thing that our control plane said? Pure functions over bytes.
//!
//! The one idea: signature first, then region, epoch, place and content; nothing is decoded before its signature holds,
//! and nothing moves the position but an accepted entry or snapshot. Never repairs, never guesses.

use std::collections::HashSet;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use bytes::Bytes;
use palladium_proto::region::{LogEntry, LogHeader, Op, Snapshot, SnapshotManifest};
use palladium_sealing::sha256;
use palladium_stream::{MAX_PAYLOAD, signed};
use prost::Message as _;

/// The control plane's log key, 32 bytes of Ed25519.
#[derive(Clone, Debug)]
pub(crate) struct LogKey(pub(crate) Bytes);

/// Where the region's copy of the log ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// 0 = nothing yet.
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) head: Bytes,
}

/// Why an entry or snapshot is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it is not signed by our control plane's log key")]
    Signature,
    #[error("it cannot be decoded")]
    Malformed,
    #[error("it belongs to another region")]
    ForeignRegion,
    #[error("its content is not what was signed")]
    Content,
    #[error("its content is larger than {MAX_PAYLOAD} bytes")]
    TooLarge,
    #[error("it was seen before (epoch {epoch}, seq {seq})")]
    Replay { epoch: u64, seq: u64 },
    #[error("something before it is missing (have seq {have}, got {got})")]
    Gap { have: u64, got: u64 },
    #[error("it does not follow what we have")]
    Fork,
    #[error("it is older than what we have")]
    RollBack,
    #[error("the control plane began epoch {0}; the region's owner has not confirmed it in the guard rails")]
    EpochNotConfirmed(u64),
}

impl Refusal {
    /// Whether a snapshot may help.
    pub(crate) fn wants_snapshot(&self) -> bool {
        matches!(self, Self::Gap { .. } | Self::Fork)
    }
}

/// One object of a snapshot.
pub(crate) type Object = (LogHeader, Bytes);

impl LogKey {
    fn holds(&self, message: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .map_err(|_| Refusal::Signature)
    }

    /// Judges one entry after `position`; returns its header and the position after it.
    pub(crate) fn entry(
        &self,
        region: &str,
        position: &Position,
        entry: &LogEntry,
    ) -> Result<(LogHeader, Position), Refusal> {
        self.holds(&signed::log_entry(&entry.header), &entry.signature)?;
        let header = LogHeader::decode(entry.header.clone()).map_err(|_| Refusal::Malformed)?;
        if header.region_id != region {
            return Err(Refusal::ForeignRegion);
        }
        if header.epoch < position.epoch {
            return Err(Refusal::RollBack);
        }
        if header.epoch > position.epoch {
            return Err(Refusal::Gap {
                have: position.seq,
                got: header.seq,
            });
        }
        if header.seq <= position.seq {
            return Err(Refusal::Replay {
                epoch: header.epoch,
                seq: header.seq,
            });
        }
        if header.seq != position.seq + 1 {
            return Err(Refusal::Gap {
                have: position.seq,
                got: header.seq,
            });
        }
        if header.prev != position.head {
            return Err(Refusal::Fork);
        }
        content(&header, &entry.payload)?;
        let head = Bytes::copy_from_slice(&signed::head(&entry.header));
        Ok((
            header.clone(),
            Position {
                epoch: header.epoch,
                seq: header.seq,
                head,
            },
        ))
    }

    /// Judges a snapshot against `position`; returns its objects and the position that it stands for. Epochs above the
    /// region's own are accepted up to `confirmed_epoch`, except as the very first thing that a region gets.
    pub(crate) fn snapshot(
        &self,
        region: &str,
        position: &Position,
        confirmed_epoch: u64,
        snapshot: &Snapshot,
    ) -> Result<(Vec<Object>, Position), Refusal> {
        self.holds(&signed::snapshot(&snapshot.manifest), &snapshot.signature)?;
        let manifest = SnapshotManifest::decode(snapshot.manifest.clone()).map_err(|_| Refusal::Malformed)?;
        if manifest.region_id != region {
            return Err(Refusal::ForeignRegion);
        }
        if manifest.objects_sha256 != signed::objects(&snapshot.objects).as_slice() {
            return Err(Refusal::Content);
        }
        if manifest.epoch < position.epoch || manifest.epoch == position.epoch && manifest.seq < position.seq {
            return Err(Refusal::RollBack);
        }
        if manifest.epoch == position.epoch && manifest.seq == position.seq && manifest.head != position.head {
            return Err(Refusal::Fork);
        }
        if position.epoch > 0 && manifest.epoch > position.epoch && manifest.epoch > confirmed_epoch {
            return Err(Refusal::EpochNotConfirmed(manifest.epoch));
        }
        let mut uids = HashSet::new();
        let mut objects = Vec::with_capacity(snapshot.objects.len());
        for object in &snapshot.objects {
            let header = LogHeader::decode(object.header.clone()).map_err(|_| Refusal::Malformed)?;
            if header.region_id != region {
                return Err(Refusal::ForeignRegion);
            }
            if header.epoch > manifest.epoch {
                return Err(Refusal::Malformed);
            }
            if header.op() != Op::Put || !uids.insert(header.uid.clone()) {
                return Err(Refusal::Malformed);
            }
            content(&header, &object.payload)?;
            objects.push((header, object.payload.clone()));
        }
        Ok((
            objects,
            Position {
                epoch: manifest.epoch,
                seq: manifest.seq,
                head: manifest.head,
            },
        ))
    }
}

fn content(header: &LogHeader, payload: &[u8]) -> Result<(), Refusal> {
    if payload.len() > MAX_PAYLOAD {
        return Err(Refusal::TooLarge);
    }
    if header.payload_sha256 != sha256(payload).as_slice() {
        return Err(Refusal::Content);
    }
    match header.op() {
        Op::Put => Ok(()),
        Op::Delete if payload.is_empty() => Ok(()),
        Op::Delete | Op::Unspecified => Err(Refusal::Malformed),
    }
}
