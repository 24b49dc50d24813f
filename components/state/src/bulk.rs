//! Bulk calls of stores that have none of their own: single calls, a bounded number at a time.
//!
//! One idea: an answer comes back for every call, in order, and failures are gathered under their keys. Must never stop
//! at the first failure, nor run an unbounded number of calls at a time.

use futures_util::{StreamExt as _, stream};
use palladium_component::reply::BoxFuture;
use palladium_component::state::{BulkGetItem, BulkOptions, GetResponse};
use palladium_component::{BulkFailure, StateError};

/// Single calls at a time when the caller leaves it to the store.
const PARALLELISM: usize = 64;

/// A single call with the key it is about.
pub(crate) type Call<'a, T> = (&'a str, BoxFuture<'a, Result<T, StateError>>);

/// A single call about a key.
pub(crate) fn call<'a, T>(key: &'a str, call: impl Future<Output = Result<T, StateError>> + Send + 'a) -> Call<'a, T> {
    (key, Box::pin(call))
}

/// Runs every call; the failures together are one error.
pub(crate) async fn run(calls: Vec<Call<'_, ()>>, options: BulkOptions) -> Result<(), StateError> {
    let (keys, outcomes) = outcomes(calls, options).await;
    let failure = |(key, outcome): (&str, Result<(), StateError>)| {
        outcome.err().map(|error| BulkFailure {
            key: key.to_string(),
            error,
        })
    };
    into_result(keys.into_iter().zip(outcomes).filter_map(failure))
}

/// Runs every read; a failure stays inside its item.
pub(crate) async fn read(calls: Vec<Call<'_, GetResponse>>, options: BulkOptions) -> Vec<BulkGetItem> {
    let (keys, outcomes) = outcomes(calls, options).await;
    keys.into_iter()
        .zip(outcomes)
        .map(|(key, outcome)| item(key, outcome))
        .collect()
}

async fn outcomes<'a, T>(calls: Vec<Call<'a, T>>, options: BulkOptions) -> (Vec<&'a str>, Vec<Result<T, StateError>>) {
    let (keys, calls): (Vec<&str>, Vec<BoxFuture<'a, _>>) = calls.into_iter().unzip();
    let outcomes = stream::iter(calls).buffered(limit(options)).collect().await;
    (keys, outcomes)
}

/// One item from one answer.
pub(crate) fn item(key: &str, answer: Result<GetResponse, StateError>) -> BulkGetItem {
    match answer {
        Ok(found) => BulkGetItem {
            key: key.into(),
            value: found.value,
            etag: found.etag,
            metadata: found.metadata,
            error: None,
        },
        Err(error) => BulkGetItem {
            key: key.into(),
            error: Some(error.to_string()),
            ..BulkGetItem::default()
        },
    }
}

/// Success when nothing failed.
pub(crate) fn into_result(failures: impl IntoIterator<Item = BulkFailure>) -> Result<(), StateError> {
    let failures: Vec<BulkFailure> = failures.into_iter().collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(StateError::Bulk(failures))
    }
}

fn limit(options: BulkOptions) -> usize {
    if options.parallelism == 0 {
        PARALLELISM
    } else {
        options.parallelism.min(1024)
    }
}
