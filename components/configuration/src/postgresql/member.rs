//! One subscription: which keys it wants, and what it has still to be told.
//!
//! One idea: whoever hears of a change notes a key and goes on; a task of the subscription's own reads and tells, at the
//! pace of its listener. Must never hold up the connection on which changes are heard.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use palladium_component::configuration::{Item, Listener};
use palladium_tasks::{Backoff, Shutdown};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::reader::Reader;
use crate::pending::Pending;

/// Between attempts to read what changed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// A subscription.
pub(super) struct Member {
    /// Where its changes are heard.
    pub(super) channel: String,
    /// None = all there are.
    keys: HashSet<String>,
    news: Mutex<News>,
    wake: Notify,
    ended: Shutdown,
}

#[derive(Default)]
struct News {
    pending: Pending,
    /// Changes may have been missed.
    all: bool,
}

impl Member {
    /// `ended`: its end.
    pub(super) fn new(channel: String, keys: &[String], ended: Shutdown) -> Self {
        Member {
            channel,
            keys: keys.iter().cloned().collect(),
            news: Mutex::default(),
            wake: Notify::new(),
            ended,
        }
    }

    pub(super) fn end(&self) {
        self.ended.trigger();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.ended.is_triggered()
    }

    /// A key changed.
    pub(super) fn changed(&self, key: &str) {
        if self.keys.is_empty() || self.keys.contains(key) {
            self.note(|news| news.pending.add(key.to_owned()));
        }
    }

    /// Nobody knows what changed meanwhile.
    pub(super) fn missed(&self) {
        self.note(|news| news.all = true);
    }

    fn note(&self, note: impl FnOnce(&mut News)) {
        // A panic under this lock leaves news that are still whole.
        note(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    /// Keys to be told now; none = all there are.
    async fn next(&self) -> Vec<String> {
        loop {
            if let Some(keys) = self.take() {
                return keys;
            }
            self.wake.notified().await;
        }
    }

    fn take(&self) -> Option<Vec<String>> {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut news.all) {
            true => Some(self.keys.iter().cloned().collect()),
            false => news.pending.take().map(|key| vec![key]),
        }
    }
}

/// Tells a subscription's listener of changes until its end.
pub(super) async fn serve(member: Arc<Member>, reader: Reader, listener: Arc<dyn Listener>) {
    member.ended.unless(tell(&member, &reader, &*listener)).await;
}

async fn tell(member: &Member, reader: &Reader, listener: &dyn Listener) {
    loop {
        let keys = member.next().await;
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        // What changed is told however long the server is away: nobody else will.
        let mut items = loop {
            match reader.items(&keys).await {
                Ok(items) => break items,
                Err(error) => {
                    tracing::debug!(%error, "configuration that changed cannot be read yet");
                    sleep(backoff.next_delay()).await;
                }
            }
        };
        for key in keys {
            // What is gone is told as an item that is empty.
            items.entry(key).or_insert_with(Item::default);
        }
        if !items.is_empty() {
            listener.changed(items).await;
        }
    }
}
