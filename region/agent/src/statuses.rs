//! What this region says about each object: the newest word only, until it has been sent.
//!
//! One idea: a map, not a queue, so it is bounded by the number of objects, and a new session simply says everything
//! again. Must never wait for the stream, keep a word that a newer one replaces, or hold a secret: all of it goes to
//! the control plane.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use palladium_proto::region::{ObjectStatus, SealedConfirmation, Verdict};
use palladium_stream::status::bound;
use tokio::sync::Notify;

#[derive(Default)]
struct Inner {
    latest: BTreeMap<String, ObjectStatus>,
    unsent: BTreeSet<String>,
    confirmations: BTreeMap<(String, String), u64>,
}

/// The outbox.
#[derive(Default)]
pub(crate) struct Statuses {
    inner: Mutex<Inner>,
    added: Notify,
}

/// What to send next.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outgoing {
    pub(crate) statuses: Vec<ObjectStatus>,
    pub(crate) confirmations: Vec<SealedConfirmation>,
}

impl Statuses {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what is said about an object; saying the same again costs nothing. What is too large is cut here, before the
    /// stream could refuse it. Answers whether it is news.
    pub(crate) fn set(&self, mut status: ObjectStatus) -> bool {
        if let Some(bytes) = bound(&mut status) {
            tracing::warn!(
                uid = status.uid,
                bytes,
                "the details of a status are left out: too large"
            );
        }
        let mut inner = self.inner();
        if inner.latest.get(&status.uid) == Some(&status) {
            return false;
        }
        tracing::info!(
            uid = status.uid,
            generation = status.generation,
            verdict = status.verdict().as_str_name(),
            reason = status.reason,
            message = status.message,
            "object status"
        );
        inner.unsent.insert(status.uid.clone());
        inner.latest.insert(status.uid.clone(), status);
        drop(inner);
        self.added.notify_one();
        true
    }

    /// A sealed value is stored here.
    pub(crate) fn confirm(&self, confirmation: SealedConfirmation) {
        self.inner()
            .confirmations
            .insert((confirmation.uid, confirmation.field), confirmation.version);
        self.added.notify_one();
    }

    /// A new session: everything is to be said again.
    pub(crate) fn say_again(&self) {
        let mut inner = self.inner();
        let uids: Vec<String> = inner.latest.keys().cloned().collect();
        inner.unsent.extend(uids);
        drop(inner);
        self.added.notify_one();
    }

    /// Takes at most `limit` of each kind.
    pub(crate) fn take(&self, limit: usize) -> Outgoing {
        let mut inner = self.inner();
        let uids: Vec<String> = inner.unsent.iter().take(limit).cloned().collect();
        let mut outgoing = Outgoing::default();
        for uid in uids {
            inner.unsent.remove(&uid);
            let Some(status) = inner.latest.get(&uid).cloned() else {
                continue;
            };
            if status.verdict() == Verdict::Deleted {
                inner.latest.remove(&uid);
            }
            outgoing.statuses.push(status);
        }
        while outgoing.confirmations.len() < limit
            && let Some(((uid, field), version)) = inner.confirmations.pop_first()
        {
            outgoing.confirmations.push(SealedConfirmation { uid, field, version });
        }
        outgoing
    }

    /// Returns when there may be something to take.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }

    /// What was last said about an object.
    #[cfg(test)]
    pub(crate) fn latest(&self, uid: &str) -> Option<ObjectStatus> {
        self.inner().latest.get(uid).cloned()
    }
}
