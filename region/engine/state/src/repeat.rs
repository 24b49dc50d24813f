//! Store calls under a resiliency policy: what is repeated, and what must not be.
//!
//! One idea: a call is repeated only if the store is the same whether it was carried out once or twice. Reads are; so are
//! writes without a condition, alone or in a transaction. A write with a condition (an etag, or "only if nobody else has
//! written") whose outcome is unknown is not: if it was carried out, its repetition would meet its own trace and tell the
//! caller that somebody else was first. Of many writes only those that failed are repeated, and the failures that are final
//! are kept until the end. Dapr repeats more: conditional writes after a timeout, and it forgets an etag failure when the
//! rest of a bulk call succeeds at a later attempt. Must never repeat an etag failure: it can never succeed.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use palladium_component::state::{BulkOptions, Concurrency, DeleteRequest, Operation, SetRequest, StateStore};
use palladium_component::{BulkFailure, Reply, StateError};
use palladium_engine_resiliency::{Failed, Failure, Policy};

/// gRPC codes that leave open whether the other side has done something: cancelled, unknown, deadline, unavailable.
const OPEN: [u32; 4] = [1, 2, 4, 14];

/// Whether something is written only if the store is as the caller thinks.
pub(crate) trait Conditional {
    fn is_conditional(&self) -> bool;
}

fn has_condition(etag: Option<&String>, concurrency: Concurrency) -> bool {
    etag.is_some_and(|etag| !etag.is_empty()) || concurrency == Concurrency::FirstWrite
}

impl Conditional for SetRequest {
    fn is_conditional(&self) -> bool {
        has_condition(self.etag.as_ref(), self.concurrency)
    }
}

impl Conditional for DeleteRequest {
    fn is_conditional(&self) -> bool {
        has_condition(self.etag.as_ref(), self.concurrency)
    }
}

impl Conditional for Operation {
    fn is_conditional(&self) -> bool {
        match self {
            Operation::Set(request) => request.is_conditional(),
            Operation::Delete(request) => request.is_conditional(),
        }
    }
}

/// Whether repeating cannot help, or must not be tried.
fn is_final(error: &StateError, conditional: bool) -> bool {
    match error {
        StateError::EtagMismatch(_)
        | StateError::EtagInvalid(_)
        | StateError::NotSupported(_)
        | StateError::Invalid(_) => true,
        StateError::Unavailable(_) => conditional,
        StateError::Remote(remote) => conditional && OPEN.contains(&remote.grpc_code),
        StateError::Bulk(_) | StateError::Other(_) => false,
    }
}

/// A failed attempt.
#[derive(Debug)]
struct Tried {
    error: StateError,
    is_final: bool,
}

impl Failure for Tried {
    fn is_permanent(&self) -> bool {
        self.is_final
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

fn late() -> StateError {
    StateError::Unavailable("context deadline exceeded".to_owned())
}

fn error_of(failed: Failed<Tried>) -> StateError {
    match failed {
        Failed::Operation(tried) => tried.error,
        Failed::Cut(cut) => StateError::Unavailable(cut.to_string()),
    }
}

/// Runs one call.
pub(crate) async fn run<'a, T: Unpin>(
    policy: &Policy,
    conditional: bool,
    mut call: impl FnMut() -> Reply<'a, T>,
) -> Result<T, StateError> {
    if policy.is_empty() {
        return call().await;
    }
    let careful;
    let policy = if conditional {
        careful = policy.clone().final_when_late();
        &careful
    } else {
        policy
    };
    let outcome = policy.run(|_| {
        let reply = call();
        async move {
            reply.await.map_err(|error| Tried {
                is_final: is_final(&error, conditional),
                error,
            })
        }
    });
    outcome.await.map_err(error_of)
}

/// One of many writes.
pub(crate) trait Write: Conditional + Clone + Send + Sync {
    fn key(&self) -> &str;
    fn one<'a>(&'a self, store: &'a dyn StateStore) -> Reply<'a, ()>;
    fn many<'a>(all: &'a [Self], store: &'a dyn StateStore) -> Reply<'a, ()>;
}

impl Write for SetRequest {
    fn key(&self) -> &str {
        &self.key
    }
    fn one<'a>(&'a self, store: &'a dyn StateStore) -> Reply<'a, ()> {
        store.set(self)
    }
    fn many<'a>(all: &'a [Self], store: &'a dyn StateStore) -> Reply<'a, ()> {
        store.bulk_set(all, BulkOptions::default())
    }
}

impl Write for DeleteRequest {
    fn key(&self) -> &str {
        &self.key
    }
    fn one<'a>(&'a self, store: &'a dyn StateStore) -> Reply<'a, ()> {
        store.delete(self)
    }
    fn many<'a>(all: &'a [Self], store: &'a dyn StateStore) -> Reply<'a, ()> {
        store.bulk_delete(all, BulkOptions::default())
    }
}

async fn attempt<W: Write>(store: &dyn StateStore, writes: &[W]) -> Result<(), StateError> {
    match writes {
        [] => Ok(()),
        [single] => single.one(store).await,
        many => W::many(many, store).await,
    }
}

/// Runs many writes, each on its own.
pub(crate) async fn bulk<W: Write>(policy: &Policy, store: &dyn StateStore, writes: Vec<W>) -> Result<(), StateError> {
    if policy.is_empty() {
        return attempt(store, &writes).await;
    }
    let progress = Mutex::new(Progress {
        pending: writes,
        failures: Vec::new(),
        is_under_way: false,
    });
    let shared = &progress;
    let outcome = policy.run(move |_| async move {
        let part = lock(shared).begin()?;
        let outcome = attempt(store, &part).await;
        lock(shared).end(outcome)
    });
    let outcome = outcome.await;
    let progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    progress.result(outcome)
}

/// How far many writes are.
struct Progress<W> {
    /// Those that may be tried again.
    pending: Vec<W>,
    /// Those that may not.
    failures: Vec<BulkFailure>,
    /// Whether an attempt has begun and not told how it ended.
    is_under_way: bool,
}

fn lock<W>(progress: &Mutex<Progress<W>>) -> MutexGuard<'_, Progress<W>> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<W: Write> Progress<W> {
    /// What the next attempt is about.
    fn begin(&mut self) -> Result<Vec<W>, Tried> {
        if std::mem::replace(&mut self.is_under_way, true) {
            // The one before was given up.
            self.give_up(&late());
            if self.pending.is_empty() {
                let (error, is_final) = (late(), true);
                return Err(Tried { error, is_final });
            }
        }
        Ok(self.pending.clone())
    }

    /// Takes off the list what must not be tried again after a failure of the whole attempt.
    fn give_up(&mut self, error: &StateError) {
        let may_again = |write: &W| !is_final(error, write.is_conditional());
        let (again, given_up) = std::mem::take(&mut self.pending).into_iter().partition(may_again);
        self.pending = again;
        let given_up: Vec<W> = given_up;
        self.failures.extend(given_up.iter().map(|write| failure(write, error)));
    }

    fn end(&mut self, outcome: Result<(), StateError>) -> Result<(), Tried> {
        self.is_under_way = false;
        let error = match outcome {
            Ok(()) => {
                self.pending.clear();
                return Ok(());
            }
            Err(StateError::Bulk(failed)) if self.pending.iter().any(|write| of(&failed, write).is_some()) => {
                let mut again = Vec::new();
                let mut last = Vec::new();
                for write in std::mem::take(&mut self.pending) {
                    let Some(failure) = of(&failed, &write) else { continue };
                    if is_final(&failure.error, write.is_conditional()) {
                        self.failures.push(failure.clone());
                    } else {
                        last.push(failure.clone());
                        again.push(write);
                    }
                }
                self.pending = again;
                StateError::Bulk(last)
            }
            Err(error) => {
                self.give_up(&error);
                error
            }
        };
        Err(Tried {
            is_final: self.pending.is_empty(),
            error,
        })
    }

    fn result(mut self, outcome: Result<(), Failed<Tried>>) -> Result<(), StateError> {
        let Err(failed) = outcome else {
            return if self.failures.is_empty() {
                Ok(())
            } else {
                Err(StateError::Bulk(self.failures))
            };
        };
        // One failure of everything is told as it came.
        let is_one = match error_of(failed) {
            StateError::Bulk(last) => {
                self.failures.extend(last);
                None
            }
            error => {
                let is_one = self
                    .failures
                    .iter()
                    .all(|one| one.error.to_string() == error.to_string());
                self.failures
                    .extend(self.pending.iter().map(|write| failure(write, &error)));
                is_one.then_some(error)
            }
        };
        Err(is_one.unwrap_or(StateError::Bulk(self.failures)))
    }
}

fn failure(write: &impl Write, error: &StateError) -> BulkFailure {
    BulkFailure {
        key: write.key().to_owned(),
        error: error.clone(),
    }
}

fn of<'a>(failed: &'a [BulkFailure], write: &impl Write) -> Option<&'a BulkFailure> {
    failed.iter().find(|failure| failure.key == write.key())
}

#[cfg(test)]
mod tests;
