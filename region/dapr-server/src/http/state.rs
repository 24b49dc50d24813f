//! The state API over HTTP.
//!
//! One idea: translate, call the engine, translate back; rules about keys, etags and errors are the engine's. Every call
//! is counted whether it fails or not, except those that never reach a store.

use std::sync::Arc;

use http::HeaderName;
use http::header::{ETAG, HeaderValue, IF_MATCH};
use http::{Response, StatusCode};
use palladium_component::StateError;
use palladium_component::state::Operation as Step;
use palladium_engine_state::{
    ApiError, DeleteRequest, GetRequest, Metadata, Operation, consistency, parse_concurrency, parse_consistency,
};

use super::state_wire::{BulkGet, BulkItem, Item, QueryAnswer, Transaction, merged};
use super::{Answer, Body, Head, Incoming, body, empty, json};
use crate::errors::Fault;
use crate::metrics::StateOperation as Counted;
use crate::outbox;
use crate::resiliency::of_store;
use crate::server::{Server, StateEntry};
use crate::trace;

fn find(server: &Server, store: &str) -> Result<Arc<StateEntry>, Fault> {
    let components = server.components.load();
    components
        .state(store, &server.app_id)
        .cloned()
        .map_err(|error| Fault::state_http(&error))
}

async fn counted<T>(
    entry: &StateEntry,
    operation: Counted,
    call: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, Fault> {
    let outcome = entry.counted(operation, call).await;
    outcome.map_err(|error| Fault::state_http(&error))
}

pub(super) async fn get(server: &Server, head: &Head, store: impl AsRef<str>, key: impl Into<String>) -> Answer {
    let entry = find(server, store.as_ref())?;
    let request = GetRequest {
        key: key.into(),
        metadata: head.metadata(),
        consistency: head
            .parameter("consistency")
            .map_or_else(Default::default, |word| consistency(&word)),
    };
    let found = counted(
        &entry,
        Counted::Get,
        entry.component.get(&of_store(server, &entry), request),
    )
    .await?;
    let Some(value) = found.value else { return Ok(empty()) };
    let mut answer = json(StatusCode::OK, value);
    if let Some(etag) = found.etag.and_then(|etag| HeaderValue::try_from(etag).ok()) {
        answer.headers_mut().insert(ETAG, etag);
    }
    metadata_headers(&mut answer, &found.metadata);
    Ok(answer)
}

/// Answer metadata as headers. What cannot be a header is left out.
fn metadata_headers(answer: &mut Response<Body>, metadata: &Metadata) {
    for (name, value) in metadata {
        let name = HeaderName::try_from(format!("metadata.{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            answer.headers_mut().insert(name, value);
        }
    }
}

pub(super) async fn save(server: &Server, head: &Head, store: impl AsRef<str>, incoming: Incoming) -> Answer {
    let entry = find(server, store.as_ref())?;
    let bytes = body::read(incoming, server.max_body()).await?;
    let items: Vec<Item<'_>> = serde_json::from_slice(&bytes).map_err(|error| Fault::malformed(error.to_string()))?;
    if items.is_empty() {
        return Ok(empty());
    }
    let query = head.metadata();
    let mut requests = Vec::with_capacity(items.len());
    for item in items {
        if item.key.is_empty() {
            return Err(Fault::state_http(&ApiError::MissingKey));
        }
        requests.push(
            item.into_set(&query)
                .map_err(|error| bad_option(&entry, Operation::Save, error))?,
        );
    }
    counted(
        &entry,
        Counted::Set,
        entry.component.save(&of_store(server, &entry), requests),
    )
    .await?;
    Ok(empty())
}

fn bad_option(entry: &StateEntry, operation: Operation, error: StateError) -> Fault {
    Fault::state_http(&entry.component.failed(operation, error))
}

pub(super) async fn delete(server: &Server, head: &Head, store: impl AsRef<str>, key: impl Into<String>) -> Answer {
    let entry = find(server, store.as_ref())?;
    let key = key.into();
    let word = |name: &str| head.parameter(name).unwrap_or_default();
    let options = parse_concurrency(&word("concurrency"))
        .and_then(|concurrency| Ok((concurrency, parse_consistency(&word("consistency"))?)));
    let (concurrency, consistency) =
        options.map_err(|error| bad_option(&entry, Operation::Delete { key: key.clone() }, error))?;
    let etag = head
        .headers
        .get(IF_MATCH)
        .map(|etag| String::from_utf8_lossy(etag.as_bytes()).into_owned());
    let request = DeleteRequest {
        key,
        etag,
        metadata: head.metadata(),
        concurrency,
        consistency,
    };
    counted(
        &entry,
        Counted::Delete,
        entry.component.delete(&of_store(server, &entry), request),
    )
    .await?;
    Ok(empty())
}

pub(super) async fn bulk_get(server: &Server, head: &Head, store: impl AsRef<str>, incoming: Incoming) -> Answer {
    let entry = find(server, store.as_ref())?;
    let bytes = body::read(incoming, server.max_body()).await?;
    let request: BulkGet = parse(&bytes)?;
    let metadata = merged(request.metadata, &head.metadata());
    let keys = request.keys.unwrap_or_default();
    let policy = of_store(server, &entry);
    let call = entry.component.bulk_get(&policy, &keys, &metadata, request.parallelism);
    let items = if keys.is_empty() {
        Vec::new()
    } else {
        counted(&entry, Counted::BulkGet, call).await?
    };
    let answer: Vec<BulkItem<'_>> = items
        .iter()
        .map(|item| BulkItem {
            key: &item.key,
            data: item.value.as_deref().filter(|_| item.error.is_none()).map(Into::into),
            etag: item.etag.as_deref().filter(|_| item.error.is_none()),
            metadata: (!item.metadata.is_empty()).then_some(&item.metadata),
            error: item.error.as_deref(),
        })
        .collect();
    encode(&answer)
}

pub(super) async fn transaction(server: &Server, head: &Head, store: impl AsRef<str>, incoming: Incoming) -> Answer {
    let entry = find(server, store.as_ref())?;
    entry
        .component
        .check_transactional()
        .map_err(|error| Fault::state_http(&error))?;
    let bytes = body::read(incoming, server.max_body()).await?;
    let request: Transaction<'_> = parse(&bytes)?;
    let steps = request.operations.unwrap_or_default();
    if steps.is_empty() {
        return Ok(empty());
    }
    let query = head.metadata();
    let mut operations = Vec::with_capacity(steps.len());
    for step in steps {
        let item = step.request.unwrap_or_default();
        let operation = match step.operation.as_str() {
            "upsert" => item.into_set(&query).map(Step::Set),
            "delete" => item.into_delete(&query).map(Step::Delete),
            _ => {
                return Err(Fault::state_http(&ApiError::UnsupportedOperation {
                    operation: step.operation,
                }));
            }
        };
        operations.push(operation.map_err(|error| bad_option(&entry, Operation::Transaction, error))?);
    }
    let metadata = merged(request.metadata, &query);
    let done = outbox::transact(server, &entry, operations, metadata, &trace::of_headers(&head.headers)).await;
    done.map_err(|failed| match failed {
        outbox::Failed::State(error) => Fault::state_http(&error),
        outbox::Failed::Promise(error) => Fault::pubsub(&error),
    })?;
    Ok(empty())
}

pub(super) async fn query(server: &Server, head: &Head, store: impl AsRef<str>, incoming: Incoming) -> Answer {
    let entry = find(server, store.as_ref())?;
    let bytes = body::read(incoming, server.max_body()).await?;
    let document = std::str::from_utf8(&bytes).map_err(Fault::unreadable)?;
    let policy = of_store(server, &entry);
    let call = entry.component.query(&policy, document, head.metadata());
    let found = counted(&entry, Counted::Query, call).await?;
    if found.items.is_empty() {
        return Ok(empty());
    }
    let results = found.items.iter().map(|item| BulkItem {
        key: &item.key,
        data: Some(item.value.as_ref().into()),
        etag: item.etag.as_deref(),
        metadata: None,
        error: item.error.as_deref(),
    });
    encode(&QueryAnswer {
        results: results.collect(),
        token: &found.token,
        metadata: &found.metadata,
    })
}

fn parse<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|error| Fault::malformed(format!("failed deserializing HTTP body: {error}")))
}

fn encode(answer: &impl serde::Serialize) -> Answer {
    let internal = |error: serde_json::Error| {
        let message = format!("failed to encode response as JSON: {error}");
        Fault::plain(500, tonic::Code::Internal, "ERR_INTERNAL", "common", message)
    };
    Ok(json(StatusCode::OK, serde_json::to_vec(answer).map_err(internal)?))
}
