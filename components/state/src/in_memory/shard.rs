//! One shard: a map, and its deadlines in order.
//!
//! One idea: `deadlines` holds exactly the entries that expire, so that a sweep looks at nothing else. Must never
//! change `entries` alone: a stale deadline would remove a younger value of the same key.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use palladium_component::StateError;
use palladium_component::state::{Concurrency, GetResponse};

use crate::ttl;

/// One stored value.
pub(super) struct Entry {
    pub(super) value: Bytes,
    pub(super) etag: u64,
    pub(super) expires: Option<Expiry>,
}

/// When a value goes.
#[derive(Clone, Copy)]
pub(super) struct Expiry {
    pub(super) at: Instant,
    pub(super) shown_unix_s: i64,
}

#[derive(Default)]
pub(super) struct Shard {
    entries: HashMap<Arc<str>, Entry>,
    deadlines: BTreeSet<(Instant, Arc<str>)>,
}

impl Shard {
    pub(super) fn get(&mut self, key: &str, now: Instant) -> Option<&Entry> {
        let expired = self.entries.get(key)?.expires.is_some_and(|expires| expires.at <= now);
        if expired {
            self.remove(key);
            return None;
        }
        self.entries.get(key)
    }

    /// Whether a write or delete under these conditions may happen.
    pub(super) fn check(&mut self, key: &str, etag: Option<&str>, concurrency: Concurrency) -> Result<(), StateError> {
        let current = self.get(key, Instant::now());
        let problem = match (etag.filter(|etag| !etag.is_empty()), current) {
            (None, Some(_)) if concurrency == Concurrency::FirstWrite => "item already exists and no etag was passed",
            (None, _) => return Ok(()),
            (Some(_), None) => "state does not exist or has expired",
            (Some(etag), Some(entry)) if entry.etag() == etag => return Ok(()),
            (Some(_), Some(_)) => "state etag does not match",
        };
        Err(StateError::EtagMismatch(Some(problem.into())))
    }

    pub(super) fn put(&mut self, key: &str, entry: Entry) {
        self.remove(key);
        let key: Arc<str> = key.into();
        if let Some(expires) = entry.expires {
            self.deadlines.insert((expires.at, key.clone()));
        }
        self.entries.insert(key, entry);
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some((
            key,
            Entry {
                expires: Some(expires), ..
            },
        )) = self.entries.remove_entry(key)
        {
            self.deadlines.remove(&(expires.at, key));
        }
    }

    /// Removes every key that begins with `prefix`; says how many.
    pub(super) fn remove_prefix(&mut self, prefix: &str) -> u64 {
        let keys: Vec<Arc<str>> = self
            .entries
            .keys()
            .filter(|key| key.starts_with(prefix))
            .cloned()
            .collect();
        for key in &keys {
            self.remove(key);
        }
        keys.len() as u64
    }

    /// The keys that have not expired.
    pub(super) fn keys(&self, now: Instant) -> impl Iterator<Item = &str> {
        let live = move |entry: &Entry| entry.expires.is_none_or(|expires| expires.at > now);
        self.entries
            .iter()
            .filter(move |(_, entry)| live(entry))
            .map(|(key, _)| &**key)
    }

    /// Removes at most `limit` expired values.
    pub(super) fn expire(&mut self, now: Instant, limit: usize) {
        for _ in 0..limit {
            let Some((at, _)) = self.deadlines.first() else { return };
            if *at > now {
                return;
            }
            if let Some((_, key)) = self.deadlines.pop_first() {
                self.entries.remove(&key);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.entries.len(), self.deadlines.len())
    }
}

impl Entry {
    fn etag(&self) -> String {
        format!("{:016x}", self.etag)
    }

    pub(super) fn response(&self) -> GetResponse {
        GetResponse {
            value: Some(self.value.clone()),
            etag: Some(self.etag()),
            metadata: self
                .expires
                .map(|expires| ttl::response_metadata(expires.shown_unix_s))
                .unwrap_or_default(),
        }
    }
}
