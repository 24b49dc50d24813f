//! Publishing under a resiliency policy.
//!
//! One idea: of many messages only those that failed are published again, and what is told at the end is about those that
//! failed last. As in Dapr a policy may publish twice what the broker has already: delivery is at least once. Must never
//! publish again what the broker has acknowledged.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use palladium_component::PubsubError;
use palladium_engine_pubsub::{
    ApiError, BulkEntry, BulkPublishFailure, BulkPublishRequest, PublishRequest, PubsubComponent,
};
use palladium_engine_resiliency::{Failed, Failure, Policy};

use crate::api_rules::Protocol;
use crate::invoke::http_status;

/// A driver's failure, with the code that the caller's protocol has for it.
#[derive(Debug)]
struct Coded(PubsubError, Option<u16>);

impl Coded {
    fn new(error: PubsubError, by: Protocol) -> Self {
        let code = match (&error, by) {
            (PubsubError::Remote(remote), Protocol::Grpc) => u16::try_from(remote.grpc_code).ok(),
            (PubsubError::Remote(remote), Protocol::Http) => i32::try_from(remote.grpc_code)
                .ok()
                .map(|code| http_status(code).as_u16()),
            // The other side's own word as well.
            (PubsubError::Unavailable(_), Protocol::Grpc) => Some(14),
            (PubsubError::Unavailable(_), Protocol::Http) => Some(503),
            _ => None,
        };
        Self(error, code)
    }
}

impl Failure for Coded {
    fn status_code(&self) -> Option<u16> {
        self.1
    }

    fn is_permanent(&self) -> bool {
        matches!(self.0, PubsubError::Closed)
    }
}

fn error_of(failed: Failed<Coded>) -> PubsubError {
    match failed {
        Failed::Operation(Coded(error, _)) => error,
        Failed::Cut(cut) => PubsubError::Unavailable(cut.to_string()),
    }
}

/// One message.
pub(super) async fn one(
    component: &PubsubComponent,
    by: Protocol,
    policy: &Policy,
    request: PublishRequest,
) -> Result<(), ApiError> {
    if policy.is_empty() {
        return component.publish(request).await;
    }
    let topic = request.topic.clone();
    let request = &component.prepared(request)?;
    let outcome = policy.run(|_| async move {
        let published = component.driver().publish(request).await;
        published.map_err(|error| Coded::new(error, by))
    });
    let outcome = outcome.await;
    outcome.map_err(|failed| component.failed(topic, error_of(failed)))
}

/// A failed attempt to publish many.
#[derive(Debug)]
enum Attempt {
    /// Nothing is known of any of them.
    Whole(Coded),
    /// The broker has the others.
    Some(Vec<BulkPublishFailure>),
    /// No call, no failure of the broker's.
    Refused(ApiError),
}

impl Failure for Attempt {
    fn status_code(&self) -> Option<u16> {
        match self {
            Self::Whole(coded) => coded.status_code(),
            Self::Some(_) | Self::Refused(_) => None,
        }
    }

    fn is_permanent(&self) -> bool {
        match self {
            Self::Whole(coded) => coded.is_permanent(),
            Self::Some(failures) => failures.iter().all(|one| matches!(one.error, PubsubError::Closed)),
            Self::Refused(_) => true,
        }
    }
}

/// Many messages; which of them the broker does not have, as far as is known.
pub(super) async fn many(
    component: &PubsubComponent,
    by: Protocol,
    policy: &Policy,
    request: BulkPublishRequest,
) -> Result<Vec<BulkPublishFailure>, ApiError> {
    let BulkPublishRequest {
        topic,
        entries,
        metadata,
    } = request;
    let pending = Mutex::new(entries);
    let (left, topic, metadata) = (&pending, &topic, &metadata);
    let outcome = policy.run(move |_| async move {
        let request = BulkPublishRequest {
            topic: topic.clone(),
            entries: lock(left).clone(),
            metadata: metadata.clone(),
        };
        match component.bulk_publish(request).await {
            Ok(failures) if failures.is_empty() => Ok(()),
            Ok(failures) => {
                let failed: HashSet<&str> = failures.iter().map(|one| one.entry_id.as_str()).collect();
                lock(left).retain(|entry| failed.contains(entry.entry_id.as_str()));
                Err(Attempt::Some(failures))
            }
            Err(ApiError::Publish { source, .. }) => Err(Attempt::Whole(Coded::new(source, by))),
            Err(other) => Err(Attempt::Refused(other)),
        }
    });
    let error = match outcome.await {
        Ok(()) => return Ok(Vec::new()),
        Err(Failed::Operation(Attempt::Some(failures))) => return Ok(failures),
        Err(Failed::Operation(Attempt::Refused(error))) => return Err(error),
        Err(Failed::Operation(Attempt::Whole(coded))) => coded.0,
        Err(Failed::Cut(cut)) => error_of(Failed::Cut(cut)),
    };
    let pending = pending.into_inner().unwrap_or_else(PoisonError::into_inner);
    let failures = pending.into_iter().map(|entry| BulkPublishFailure {
        entry_id: entry.entry_id,
        error: error.clone(),
    });
    Ok(failures.collect())
}

fn lock(pending: &Mutex<Vec<BulkEntry>>) -> MutexGuard<'_, Vec<BulkEntry>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}
