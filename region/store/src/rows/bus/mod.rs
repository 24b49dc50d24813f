//! Messages of a project: what lies on disk of managed publish/subscribe.
//!
//! One idea: they are rows like all others, written by the project's one writer in the same group commit, sealed by the
//! project's key. Who is being delivered to is not here: that is memory (`crate::bus`), and a store that starts again
//! delivers everything that is still pending. Must never acknowledge a message before its commit, nor go beyond a bound.

mod read;
pub(super) mod schema;
pub(super) mod write;

use std::sync::Arc;

use palladium_sealing::{random_bytes, sha256};
use serde::{Deserialize, Serialize};

pub(super) use schema::CREATE;

/// Bytes of a message's own name.
pub(crate) const ID: usize = 16;
/// What the smallest message counts, so that bytes bound their number too.
const LEAST: usize = 256;

/// What a project may keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusLimits {
    /// Messages of one topic.
    pub topic_messages: u64,
    /// Bytes of one topic.
    pub topic_bytes: u64,
    /// Bytes of all topics of a project.
    pub project_bytes: u64,
    /// Topics of a project.
    pub topics: u64,
    /// Groups of a topic.
    pub groups: u64,
    /// How long a message is kept at most.
    pub retention_s: u64,
    /// Subscriptions that are open at a time, of a project.
    pub subscriptions: usize,
}

impl Default for BusLimits {
    fn default() -> Self {
        BusLimits {
            topic_messages: 200_000,
            topic_bytes: 256 << 20,
            project_bytes: 1 << 30,
            topics: 1000,
            groups: 100,
            retention_s: 7 * 24 * 3600,
            subscriptions: 4096,
        }
    }
}

impl BusLimits {
    pub(crate) fn retention_ms(&self) -> i64 {
        i64::try_from(self.retention_s.saturating_mul(1000)).unwrap_or(i64::MAX / 2)
    }
}

/// A message as it goes to disk.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) id: [u8; ID],
    pub(crate) sealed: Vec<u8>,
    /// See [`part`].
    pub(crate) part: Option<i64>,
    pub(crate) expires_ms: i64,
}

impl Sealed {
    /// What it counts against bounds.
    pub(crate) fn size(&self) -> usize {
        self.sealed.len().max(LEAST)
    }
}

/// A group that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) topic: i64,
    pub(crate) group: i64,
}

/// How much of what was published is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// Where new messages are; `None` = nothing was taken.
    pub(crate) topic: Option<i64>,
    pub(crate) taken: usize,
    /// Why not all of it.
    pub(crate) refused: Option<String>,
}

/// Names one pending message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Token {
    pub(crate) seq: i64,
    pub(crate) id: [u8; ID],
}

impl Token {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [&self.seq.to_be_bytes()[..], &self.id].concat()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (seq, id) = bytes.split_first_chunk::<8>()?;
        Some(Token {
            seq: i64::from_be_bytes(*seq),
            id: id.try_into().ok()?,
        })
    }
}

/// A pending message without its content.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) token: Token,
    pub(crate) part: Option<i64>,
    pub(crate) size: usize,
    pub(crate) expires_ms: i64,
}

/// What is asked of the writer.
pub(crate) enum BusWork {
    /// Messages of one topic, in their order, from the first one on as many as there is room for.
    Publish {
        component: Arc<str>,
        topic: String,
        messages: Vec<Sealed>,
        limits: Arc<BusLimits>,
        /// As for state: asked again right before writing.
        permitted: Box<dyn Fn() -> bool + Send + Sync>,
    },
    /// A group of a topic, made when it is new.
    Join {
        component: Arc<str>,
        topic: String,
        group: String,
        app: String,
        /// A new group gets what the topic still keeps.
        oldest: bool,
        limits: Arc<BusLimits>,
        permitted: Box<dyn Fn() -> bool + Send + Sync>,
    },
    /// These are done with.
    Done { group: i64, tokens: Vec<Token> },
    /// Somebody receives for the group.
    Seen { group: i64 },
    /// An App ID is gone, and with it the groups that it alone received for.
    Leave { app: String },
}

impl BusWork {
    pub(super) fn bytes(&self) -> usize {
        match self {
            BusWork::Publish { messages, .. } => messages.iter().map(Sealed::size).sum(),
            _ => 0,
        }
    }
}

/// A new message's name.
pub(crate) fn new_id() -> [u8; ID] {
    random_bytes()
}

/// What stands for a partition key. Two keys that meet are in one order, which does no harm.
pub(crate) fn part(key: &str) -> Option<i64> {
    let hash = sha256(key.as_bytes());
    let (first, _) = hash.split_first_chunk::<8>()?;
    (!key.is_empty()).then(|| i64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests;
