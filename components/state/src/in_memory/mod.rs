//! `state.in-memory`: everything in this process, gone when it ends. For development and tests.
//!
//! The one idea: keys are spread over shards, each behind its own short lock, and every call is answered without
//! waiting. A transaction locks the shards it needs in their order, so it can neither be seen half done nor dead-lock.
//! Memory is bounded by what lives: an expired key goes when it is next touched, or within a second by the sweep. Must
//! never await under a shard's lock, nor lock a second shard but in `run`, in ascending order.

mod shard;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use palladium_component::state::{
    BulkGetItem, BulkOptions, DeleteRequest, Feature, Features, GetRequest, GetResponse, Operation, SetRequest,
    StateStore, TransactRequest,
};
use palladium_component::{BulkFailure, Hosted, OpenContext, OpenError, Reply, StateDriver, StateError, Status};
use palladium_tasks::Tasks;

use crate::like::Pattern;
use crate::{bulk, ttl};
use shard::{Entry, Expiry, Shard};

/// The driver.
pub const DRIVER: StateDriver = StateDriver {
    type_name: "state.in-memory",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: Vec::new,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

const FEATURES: Features = Features::NONE
    .with(Feature::Etag)
    .with(Feature::Transactional)
    .with(Feature::Ttl)
    .with(Feature::DeleteWithPrefix)
    .with(Feature::KeysLike);
const SHARDS: usize = 64;
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Expired keys removed from one shard in one sweep, so that a sweep never holds a lock for long.
const SWEEP_BATCH: usize = 4096;

async fn open(_: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
    let store = Arc::new(InMemory {
        shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
        hasher: RandomState::new(),
        // Etags of an earlier life of the process must not match by accident.
        next_etag: AtomicU64::new(rand::random()),
        tasks: Mutex::new(Tasks::new()),
    });
    let sweeper = sweep(Arc::downgrade(&store));
    lock(&store.tasks).spawn("state-in-memory-sweep", sweeper);
    Ok(store)
}

struct InMemory {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    next_etag: AtomicU64,
    tasks: Mutex<Tasks>,
}

impl InMemory {
    fn index(&self, key: &str) -> usize {
        self.hasher.hash_one(key) as usize % SHARDS
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.index(key)])
    }

    fn read(&self, key: &str) -> GetResponse {
        self.shard(key)
            .get(key, Instant::now())
            .map(Entry::response)
            .unwrap_or_default()
    }

    fn write(&self, request: &SetRequest) -> Result<(), StateError> {
        let entry = self.entry(request)?;
        let mut shard = self.shard(&request.key);
        shard.check(&request.key, request.etag.as_deref(), request.concurrency)?;
        shard.put(&request.key, entry);
        Ok(())
    }

    fn remove(&self, request: &DeleteRequest) -> Result<(), StateError> {
        let mut shard = self.shard(&request.key);
        shard.check(&request.key, request.etag.as_deref(), request.concurrency)?;
        shard.remove(&request.key);
        Ok(())
    }

    fn entry(&self, request: &SetRequest) -> Result<Entry, StateError> {
        let expires = match ttl::parse(&request.metadata)? {
            None | Some(0) => None,
            Some(seconds) => Some(Expiry {
                at: Instant::now() + Duration::from_secs(seconds.into()),
                shown_unix_s: ttl::now_unix_s() + i64::from(seconds),
            }),
        };
        Ok(Entry {
            value: request.value.clone(),
            etag: self.next_etag.fetch_add(1, Ordering::Relaxed),
            expires,
        })
    }

    fn run(&self, request: &TransactRequest) -> Result<(), StateError> {
        let mut needed: Vec<usize> = request
            .operations
            .iter()
            .map(|operation| self.index(operation.key()))
            .collect();
        needed.sort_unstable();
        needed.dedup();
        let mut locked: Vec<(usize, MutexGuard<'_, Shard>)> = needed
            .into_iter()
            .map(|index| (index, lock(&self.shards[index])))
            .collect();
        let position = |key: &str, locked: &[(usize, MutexGuard<'_, Shard>)]| {
            let index = self.index(key);
            locked
                .iter()
                .position(|(own, _)| *own == index)
                .expect("invariant: every shard of the transaction is locked")
        };
        // First everything that can fail, then everything that cannot.
        let mut entries = Vec::with_capacity(request.operations.len());
        for operation in &request.operations {
            let at = position(operation.key(), &locked);
            let shard = &mut locked[at].1;
            match operation {
                Operation::Set(set) => {
                    entries.push(Some(self.entry(set)?));
                    shard.check(&set.key, set.etag.as_deref(), set.concurrency)?;
                }
                Operation::Delete(delete) => {
                    entries.push(None);
                    shard.check(&delete.key, delete.etag.as_deref(), delete.concurrency)?;
                }
            }
        }
        for (operation, entry) in request.operations.iter().zip(entries) {
            let at = position(operation.key(), &locked);
            match entry {
                Some(entry) => locked[at].1.put(operation.key(), entry),
                None => locked[at].1.remove(operation.key()),
            }
        }
        Ok(())
    }
}

impl StateStore for InMemory {
    fn features(&self) -> Features {
        FEATURES
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> Reply<'a, GetResponse> {
        Reply::ready(Ok(self.read(&request.key)))
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> Reply<'a, ()> {
        Reply::ready(self.write(request))
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> Reply<'a, ()> {
        Reply::ready(self.remove(request))
    }

    fn bulk_get<'a>(&'a self, requests: &'a [GetRequest], _: BulkOptions) -> Reply<'a, Vec<BulkGetItem>> {
        Reply::ready(Ok(requests
            .iter()
            .map(|request| bulk::item(&request.key, Ok(self.read(&request.key))))
            .collect()))
    }

    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest], _: BulkOptions) -> Reply<'a, ()> {
        Reply::ready(all(requests, |request| (&request.key, self.write(request))))
    }

    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest], _: BulkOptions) -> Reply<'a, ()> {
        Reply::ready(all(requests, |request| (&request.key, self.remove(request))))
    }

    fn transact<'a>(&'a self, request: &'a TransactRequest) -> Reply<'a, ()> {
        Reply::ready(self.run(request))
    }

    fn delete_with_prefix<'a>(&'a self, prefix: &'a str) -> Reply<'a, u64> {
        let removed = self.shards.iter().map(|shard| lock(shard).remove_prefix(prefix));
        Reply::ready(Ok(removed.sum()))
    }

    fn keys_like<'a>(&'a self, pattern: &'a str, after: &'a str, limit: usize) -> Reply<'a, Vec<String>> {
        let pattern = Pattern::new(pattern);
        let now = Instant::now();
        let mut keys: Vec<String> = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            keys.extend(
                shard
                    .keys(now)
                    .filter(|key| *key > after && pattern.fits(key))
                    .map(str::to_string),
            );
        }
        keys.sort_unstable();
        keys.truncate(limit);
        Reply::ready(Ok(keys))
    }

    fn ping(&self) -> Reply<'_, ()> {
        Reply::ready(Ok(()))
    }

    fn close(&self) -> Reply<'_, ()> {
        *lock(&self.tasks) = Tasks::new();
        self.shards.iter().for_each(|shard| *lock(shard) = Shard::default());
        Reply::ready(Ok(()))
    }
}

fn all<'a, T>(items: &'a [T], run: impl Fn(&'a T) -> (&'a String, Result<(), StateError>)) -> Result<(), StateError> {
    let failures = items.iter().map(run).filter_map(|(key, result)| {
        Some(BulkFailure {
            key: key.clone(),
            error: result.err()?,
        })
    });
    bulk::into_result(failures)
}

async fn sweep(store: Weak<InMemory>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(store) = store.upgrade() else { return };
        let now = Instant::now();
        for shard in &store.shards {
            lock(shard).expire(now, SWEEP_BATCH);
        }
    }
}

/// A panic under one of these locks leaves a map that is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_is_bounded_by_what_lives() {
        let mut shard = Shard::default();
        let entry = |seconds: u64| Entry {
            value: Default::default(),
            etag: 1,
            expires: Some(Expiry {
                at: Instant::now() + Duration::from_secs(seconds),
                shown_unix_s: 0,
            }),
        };
        // Writing one key again and again must not pile up deadlines.
        for _ in 0..1000 {
            shard.put("k", entry(3600));
        }
        assert_eq!(shard.sizes(), (1, 1));
        for key in 0..10 {
            shard.put(&format!("k{key}"), entry(0));
        }
        shard.expire(Instant::now() + Duration::from_secs(1), 4);
        assert_eq!(shard.sizes(), (7, 7));
        shard.expire(Instant::now() + Duration::from_secs(1), 100);
        assert_eq!(shard.sizes(), (1, 1));
    }

    #[tokio::test]
    async fn a_read_never_waits() {
        let store = open(OpenContext::new("c", "app", Default::default())).await.unwrap();
        assert!(matches!(store.get(&GetRequest::default()), Reply::Ready(Some(Ok(_)))));
    }
}
