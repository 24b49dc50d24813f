//! The transactional outbox in one Dapr Server: transactions that promise, and the relay that keeps the promises.
//!
//! One idea: the rules are the engine's ([`Outbox`]); here messages are published and keys are looked for. The relay is one
//! more subscriber, with no application behind it. A promise whose key is missing is not thrown away while its transaction
//! is under way here, whatever the component says. Must never carry out a transaction before all its promises are with the
//! broker, nor settle a promise before the letter is.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palladium_component::StateError;
use palladium_component::state::{DeleteRequest, GetRequest, Operation};
use palladium_engine_pubsub::{ApiError as PubsubError, BulkEvent, Deliver, Incoming, Outbox, Trace, Verdict};
use palladium_engine_state::{ApiError, Metadata};
use palladium_tasks::{Backoff, Shutdown};
use tokio::time::{Instant, sleep, timeout};

use crate::api_rules::Protocol;
use crate::metrics::StateOperation;
use crate::pubsub::publish;
use crate::resiliency::of_store;
use crate::server::{Server, StateEntry};

/// How long a transaction may take to write its keys, counted from when its promise comes back; Dapr's eleven seconds.
const PATIENCE: Duration = Duration::from_secs(11);
/// How long one call of the store may take.
const STORE: Duration = Duration::from_secs(5);
/// How long a letter may take.
const LETTER: Duration = Duration::from_secs(30);
/// How long the key is tried to be deleted once its letter is published.
const DELETE: Duration = Duration::from_secs(10);

/// Why a transaction was not carried out.
pub(crate) enum Failed {
    /// The store refused or failed.
    State(ApiError),
    /// It could not promise what it is to publish.
    Promise(PubsubError),
}

/// The keys of the transactions that are under way here.
#[derive(Default)]
pub struct UnderWay(Mutex<HashSet<String>>);

impl UnderWay {
    fn keys(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists these as long as what is returned lives.
    fn list(&self, keys: impl IntoIterator<Item = String>) -> Listed<'_> {
        let listed = Listed(self, keys.into_iter().collect());
        self.keys().extend(listed.1.iter().cloned());
        listed
    }

    fn has(&self, key: &str) -> bool {
        self.keys().contains(key)
    }
}

struct Listed<'a>(&'a UnderWay, Vec<String>);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let mut keys = self.0.keys();
        for key in &self.1 {
            keys.remove(key);
        }
    }
}

/// Carries out a transaction; where the store has an outbox, with its promises.
pub(crate) async fn transact(
    server: &Server,
    entry: &StateEntry,
    operations: Vec<Operation>,
    metadata: Metadata,
    trace: &Trace,
) -> Result<(), Failed> {
    let component = &entry.component;
    let policy = of_store(server, entry);
    let Some(outbox) = &entry.outbox else {
        let call = component.transact(&policy, operations, metadata);
        let done = entry.counted(StateOperation::Transaction, call).await;
        return done.map_err(Failed::State);
    };
    let operations = component.prepared(operations).await.map_err(Failed::State)?;
    let refused = |reason: String| {
        Failed::Promise(PubsubError::Outbox {
            app_id: server.app_id.clone(),
            reason,
        })
    };
    let plan = outbox.plan(&server.app_id, server.namespace(), trace, operations);
    let plan = plan.map_err(refused)?;
    // Before anything is promised: the names count as well.
    let counts = component.check_count(plan.operations.len()).await;
    counts.map_err(Failed::State)?;
    let keys = plan.promises.iter().map(|promise| promise.key.clone());
    let _listed = entry.under_way.list(keys);
    for promise in plan.promises {
        let promised = publish::bare(server, &outbox.pubsub, Protocol::Grpc, promise.request).await;
        promised.map_err(|error| refused(driver_words(error)))?;
    }
    let call = component.commit(&policy, plan.operations, metadata);
    let done = entry.counted(StateOperation::Transaction, call).await;
    done.map_err(Failed::State)
}

/// What the driver said; Dapr's callers know it without anything around it.
fn driver_words(error: PubsubError) -> String {
    match error {
        PubsubError::Publish { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// Keeps the promises that come by one topic: those of one state store, or of several that have it in common.
pub(crate) struct Relay {
    pub(crate) server: Arc<Server>,
    pub(crate) stores: Vec<Arc<StateEntry>>,
    /// Ends every wait: what is not settled then stays with the broker.
    pub(crate) stop: Shutdown,
}

impl Deliver for Relay {
    async fn deliver(&self, incoming: &Incoming) -> Verdict {
        let kept = self.stop.unless(self.keep(incoming.event.body())).await;
        kept.unwrap_or(Verdict::Closed)
    }

    async fn deliver_bulk(&self, bulk: &BulkEvent) -> Vec<Verdict> {
        // It never asks for batches.
        vec![Verdict::Closed; bulk.entries.len()]
    }
}

impl Relay {
    async fn keep(&self, promise: &[u8]) -> Verdict {
        let key = match Outbox::key(promise) {
            Ok(key) => key,
            Err(reason) => return Verdict::Retry(reason),
        };
        let (store, outbox) = match self.committed(&key, promise).await {
            Ok(found) => found,
            Err(reason) => {
                let reason = format!("cannot publish outbox message: {reason}");
                let discards = |store: &Arc<StateEntry>| {
                    store.outbox.as_ref().is_some_and(|outbox| outbox.discards) && !store.under_way.has(&key)
                };
                if self.stores.iter().all(discards) {
                    tracing::error!("{reason}, discarding message");
                    return Verdict::Drop;
                }
                return Verdict::Retry(format!("{reason}, rejecting for later processing"));
            }
        };
        let letter = match outbox.letter(promise) {
            Ok(letter) => letter,
            Err(reason) => return Verdict::Retry(reason),
        };
        let published = publish::bare(&self.server, &outbox.publish_pubsub, Protocol::Grpc, letter);
        match timeout(LETTER, published).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Verdict::Retry(error.to_string()),
            Err(_) => return Verdict::Retry(format!("no answer within {LETTER:?}")),
        }
        match forget(store, &key).await {
            Ok(()) => Verdict::Success,
            // It comes again, and is published again, as long as its key is there.
            Err(reason) => Verdict::Retry(format!("cannot delete outbox state: {reason}")),
        }
    }

    /// Returns once the key is in a store, written for this promise: in which. A store that daprd may share can have the
    /// key as daprd writes it.
    async fn committed(&self, key: &str, promise: &[u8]) -> Result<(&StateEntry, &Outbox), String> {
        let request = GetRequest {
            key: key.to_owned(),
            ..GetRequest::default()
        };
        let request = &request;
        again(PATIENCE, || async move {
            let mut reason = "outbox state not found".to_owned();
            for store in &self.stores {
                let Some(outbox) = &store.outbox else { continue };
                match within(store.component.store().get(request)).await {
                    Ok(found) => match found.value.filter(|value| !value.is_empty()) {
                        Some(value) if Outbox::is_kept(promise, &value, !self.server.hosted) => {
                            return Ok((&**store, outbox));
                        }
                        Some(_) => reason = "outbox state is of another message".to_owned(),
                        None => {}
                    },
                    Err(error) => reason = store.secrets.out_of(error),
                }
            }
            Err(reason)
        })
        .await
    }
}

async fn forget(store: &StateEntry, key: &str) -> Result<(), String> {
    let request = DeleteRequest {
        key: key.to_owned(),
        ..DeleteRequest::default()
    };
    let request = &request;
    again(DELETE, || async move {
        let deleted = within(store.component.store().delete(request)).await;
        deleted.map_err(|error| store.secrets.out_of(error))
    })
    .await
}

async fn within<T>(call: impl Future<Output = Result<T, StateError>>) -> Result<T, String> {
    match timeout(STORE, call).await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {STORE:?}")),
    }
}

/// Tries until it succeeds or the time is over; the last reason.
async fn again<T, F>(time: Duration, mut attempt: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    let until = Instant::now() + time;
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    loop {
        let reason = match attempt().await {
            Ok(done) => return Ok(done),
            Err(reason) => reason,
        };
        let pause = backoff.next_delay();
        if Instant::now() + pause > until {
            return Err(reason);
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests;
