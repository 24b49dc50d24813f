//! Short forms of requests, and keys that no other case uses.
//!
//! One idea: each case has a prefix of its own, so that cases run beside each other in one server and need no cleaning
//! up. Must never hand a case a key without that prefix.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use palladium_component::state::{Concurrency, DeleteRequest, GetRequest, GetResponse, SetRequest};
use palladium_component::{StateError, StateStore};

/// An opened store with a name space of its own.
pub(super) struct Space {
    pub(super) store: Arc<dyn StateStore>,
    prefix: String,
}

impl Space {
    pub(super) async fn open(backend: &super::Backend) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|now| now.as_nanos())
            .unwrap_or_default();
        let prefix = format!("conformance-{now}-{}||", NEXT.fetch_add(1, Ordering::Relaxed));
        Space {
            store: (backend.open)().await,
            prefix,
        }
    }

    pub(super) fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    pub(super) fn set(&self, key: &str, value: impl Into<Bytes>) -> SetRequest {
        SetRequest {
            key: self.key(key),
            value: value.into(),
            ..SetRequest::default()
        }
    }

    pub(super) fn delete(&self, key: &str) -> DeleteRequest {
        DeleteRequest {
            key: self.key(key),
            ..DeleteRequest::default()
        }
    }

    pub(super) fn get(&self, key: &str) -> GetRequest {
        GetRequest {
            key: self.key(key),
            ..GetRequest::default()
        }
    }

    pub(super) async fn put(&self, key: &str, value: &'static str) {
        self.store
            .set(&self.set(key, value))
            .await
            .expect("a plain write succeeds");
    }

    pub(super) async fn read(&self, key: &str) -> GetResponse {
        self.store.get(&self.get(key)).await.expect("a read succeeds")
    }

    pub(super) async fn value(&self, key: &str) -> Option<Bytes> {
        self.read(key).await.value
    }

    pub(super) async fn etag(&self, key: &str) -> String {
        self.read(key)
            .await
            .etag
            .filter(|etag| !etag.is_empty())
            .expect("a stored value has an etag")
    }
}

/// The same write under a condition.
pub(super) fn with_etag(request: SetRequest, etag: &str) -> SetRequest {
    SetRequest {
        etag: Some(etag.into()),
        ..request
    }
}

/// The same write as a first write.
pub(super) fn first(request: SetRequest) -> SetRequest {
    SetRequest {
        concurrency: Concurrency::FirstWrite,
        ..request
    }
}

/// The same write with a life in seconds.
pub(super) fn with_ttl(mut request: SetRequest, seconds: &str) -> SetRequest {
    request.metadata.insert("ttlInSeconds".into(), seconds.into());
    request
}

/// Whether an outcome is an etag failure, alone or as the only failures of a bulk call.
pub(super) fn is_etag_failure(outcome: &Result<(), StateError>) -> bool {
    match outcome {
        Err(StateError::Bulk(failures)) => {
            !failures.is_empty() && failures.iter().all(|failure| failure.error.is_etag())
        }
        Err(error) => error.is_etag(),
        Ok(()) => false,
    }
}
