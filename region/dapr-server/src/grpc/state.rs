//! The state API over gRPC: translates to the engine and back, counts each call.
//!
//! One idea: nothing is decided here; prefixes, limits and words are the engine's, so that HTTP and gRPC cannot drift
//! apart. Must never call a driver, nor answer a failure except through `status`, which counts it.

use std::sync::Arc;

use bytes::Bytes;
use palladium_component::StateError;
use palladium_component::state::{Concurrency, Consistency, DeleteRequest, GetRequest, Operation as Step, SetRequest};
use palladium_engine_state::{ApiError, Operation, ValueForm, canonical_json};
use palladium_proto::common::state_options::{StateConcurrency, StateConsistency};
use palladium_proto::common::{Etag, StateItem, StateOptions};
use palladium_proto::runtime::{
    BulkStateItem, DeleteBulkStateRequest, DeleteStateRequest, ExecuteStateTransactionRequest, GetBulkStateRequest,
    GetBulkStateResponse, GetStateRequest, GetStateResponse, QueryStateItem, QueryStateRequest, QueryStateResponse,
    SaveStateRequest,
};
use tonic::{Request, Status};

use crate::errors::{pubsub_grpc, state_grpc};
use crate::metrics::StateOperation as Counted;
use crate::outbox;
use crate::resiliency::of_store;
use crate::server::{Server, StateEntry};
use crate::trace;

fn status(server: &Server, error: &ApiError) -> Status {
    let (status, fault) = state_grpc(error);
    server.metrics.fault(&fault);
    tracing::debug!("state: {}", fault.report.message);
    status
}

fn find(server: &Server, store: &str) -> Result<Arc<StateEntry>, Status> {
    server
        .components
        .load()
        .state(store, &server.app_id)
        .cloned()
        .map_err(|error| status(server, &error))
}

async fn counted<T>(
    server: &Server,
    entry: &StateEntry,
    operation: Counted,
    call: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, Status> {
    let outcome = entry.counted(operation, call).await;
    outcome.map_err(|error| status(server, &error))
}

pub(super) async fn get(server: &Server, request: GetStateRequest) -> Result<GetStateResponse, Status> {
    let entry = find(server, &request.store_name)?;
    let consistency = consistency(request.consistency);
    let request = GetRequest {
        key: request.key,
        metadata: request.metadata,
        consistency,
    };
    let found = counted(
        server,
        &entry,
        Counted::Get,
        entry.component.get(&of_store(server, &entry), request),
    )
    .await?;
    Ok(GetStateResponse {
        data: found.value.unwrap_or_default(),
        etag: found.etag.unwrap_or_default(),
        metadata: found.metadata,
    })
}

pub(super) async fn bulk_get(server: &Server, request: GetBulkStateRequest) -> Result<GetBulkStateResponse, Status> {
    let entry = find(server, &request.store_name)?;
    if request.keys.is_empty() {
        return Ok(GetBulkStateResponse::default());
    }
    let policy = of_store(server, &entry);
    let call = entry
        .component
        .bulk_get(&policy, &request.keys, &request.metadata, request.parallelism.into());
    let items = counted(server, &entry, Counted::BulkGet, call)
        .await?
        .into_iter()
        .map(|item| BulkStateItem {
            key: item.key,
            data: item.value.unwrap_or_default(),
            etag: item.etag.unwrap_or_default(),
            error: item.error.unwrap_or_default(),
            metadata: item.metadata,
        });
    Ok(GetBulkStateResponse { items: items.collect() })
}

pub(super) async fn save(server: &Server, request: SaveStateRequest) -> Result<(), Status> {
    let entry = find(server, &request.store_name)?;
    if request.states.is_empty() {
        return Ok(());
    }
    let mut requests = Vec::with_capacity(request.states.len());
    for item in request.states {
        if item.key.is_empty() {
            return Err(status(server, &ApiError::MissingKey));
        }
        requests.push(set(item).map_err(|error| failed(server, &entry, Operation::Save, error))?);
    }
    counted(
        server,
        &entry,
        Counted::Set,
        entry.component.save(&of_store(server, &entry), requests),
    )
    .await
}

pub(super) async fn delete(server: &Server, request: DeleteStateRequest) -> Result<(), Status> {
    let entry = find(server, &request.store_name)?;
    let (concurrency, consistency) = options(request.options);
    let etag = request.etag.map(|Etag { value }| value);
    let request = DeleteRequest {
        key: request.key,
        etag,
        metadata: request.metadata,
        concurrency,
        consistency,
    };
    counted(
        server,
        &entry,
        Counted::Delete,
        entry.component.delete(&of_store(server, &entry), request),
    )
    .await
}

pub(super) async fn bulk_delete(server: &Server, request: DeleteBulkStateRequest) -> Result<(), Status> {
    let entry = find(server, &request.store_name)?;
    let requests = request.states.into_iter().map(deletion).collect();
    counted(
        server,
        &entry,
        Counted::BulkDelete,
        entry.component.bulk_delete(&of_store(server, &entry), requests),
    )
    .await
}

pub(super) async fn transaction(
    server: &Server,
    request: Request<ExecuteStateTransactionRequest>,
) -> Result<(), Status> {
    let trace = trace::of_headers(request.metadata().as_ref());
    let request = request.into_inner();
    let entry = find(server, &request.store_name)?;
    entry
        .component
        .check_transactional()
        .map_err(|error| status(server, &error))?;
    let mut operations = Vec::with_capacity(request.operations.len());
    for step in request.operations {
        let item = step.request.unwrap_or_default();
        operations.push(match step.operation_type.as_str() {
            "upsert" => Step::Set(set(item).map_err(|error| failed(server, &entry, Operation::Transaction, error))?),
            "delete" => Step::Delete(deletion(item)),
            _ => {
                return Err(status(
                    server,
                    &ApiError::UnsupportedOperation {
                        operation: step.operation_type,
                    },
                ));
            }
        });
    }
    let done = outbox::transact(server, &entry, operations, request.metadata, &trace).await;
    done.map_err(|failed| match failed {
        outbox::Failed::State(error) => status(server, &error),
        outbox::Failed::Promise(error) => pubsub_grpc(server, &error),
    })
}

pub(super) async fn query(server: &Server, request: QueryStateRequest) -> Result<QueryStateResponse, Status> {
    let entry = find(server, &request.store_name)?;
    let policy = of_store(server, &entry);
    let call = entry.component.query(&policy, &request.query, request.metadata);
    let found = counted(server, &entry, Counted::Query, call).await?;
    let results = found.items.into_iter().map(|item| QueryStateItem {
        key: item.key,
        data: item.value,
        etag: item.etag.unwrap_or_default(),
        error: item.error.unwrap_or_default(),
    });
    Ok(QueryStateResponse {
        results: results.collect(),
        token: found.token,
        metadata: found.metadata,
    })
}

fn failed(server: &Server, entry: &StateEntry, operation: Operation, error: StateError) -> Status {
    status(server, &entry.component.failed(operation, error))
}

fn set(item: StateItem) -> Result<SetRequest, StateError> {
    let (concurrency, consistency) = options(item.options);
    // Only who says that a value is JSON has it stored as JSON; all else is bytes.
    let is_json = item
        .metadata
        .get("contentType")
        .is_some_and(|kind| kind == "application/json");
    let (value, form) = if is_json {
        let text: &serde_json::value::RawValue = serde_json::from_slice(&item.value)
            .map_err(|error| StateError::Invalid(format!("the value is not the JSON it says it is: {error}")))?;
        (canonical_json(text.get()), ValueForm::Json)
    } else {
        // A copy, as JSON is one: a store that keeps the value would keep the buffer that it came in, which may be far larger.
        (Bytes::copy_from_slice(&item.value), ValueForm::Binary)
    };
    let etag = item.etag.map(|Etag { value }| value);
    Ok(SetRequest {
        key: item.key,
        value,
        form,
        etag,
        metadata: item.metadata,
        concurrency,
        consistency,
    })
}

fn deletion(item: StateItem) -> DeleteRequest {
    let (concurrency, consistency) = options(item.options);
    let etag = item.etag.map(|Etag { value }| value);
    DeleteRequest {
        key: item.key,
        etag,
        metadata: item.metadata,
        concurrency,
        consistency,
    }
}

fn options(options: Option<StateOptions>) -> (Concurrency, Consistency) {
    let Some(options) = options else {
        return Default::default();
    };
    let concurrency = match options.concurrency() {
        StateConcurrency::ConcurrencyUnspecified => Concurrency::Unspecified,
        StateConcurrency::ConcurrencyFirstWrite => Concurrency::FirstWrite,
        StateConcurrency::ConcurrencyLastWrite => Concurrency::LastWrite,
    };
    (concurrency, consistency(options.consistency))
}

fn consistency(number: i32) -> Consistency {
    match StateConsistency::try_from(number).unwrap_or_default() {
        StateConsistency::ConsistencyUnspecified => Consistency::Unspecified,
        StateConsistency::ConsistencyEventual => Consistency::Eventual,
        StateConsistency::ConsistencyStrong => Consistency::Strong,
    }
}
