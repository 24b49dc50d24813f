//! Between the driver contract and the component protocol.
//!
//! The protocol cannot say "absent" apart from "empty": an answer without data and without etag is an absent key. Must
//! never touch a key or an etag on the way: prefixes are the engine's, etags are opaque.

use palladium_component::state::{
    BulkGetItem, Concurrency, Consistency, DeleteRequest, GetRequest, GetResponse, Operation, QueryItem, QueryRequest,
    QueryResponse, SetRequest, TransactRequest, ValueForm,
};
use palladium_proto::components as pb;
use pb::state_options::{StateConcurrency, StateConsistency};
use pb::transactional_state_operation::Request as Step;

pub(super) fn get(request: &GetRequest) -> pb::GetRequest {
    pb::GetRequest {
        key: request.key.clone(),
        metadata: request.metadata.clone(),
        consistency: consistency(request.consistency).into(),
    }
}

pub(super) fn got(answer: pb::GetResponse) -> GetResponse {
    let etag = answer.etag.map(|etag| etag.value);
    let present = etag.is_some() || !answer.data.is_empty();
    GetResponse {
        value: present.then_some(answer.data),
        etag,
        metadata: answer.metadata,
    }
}

pub(super) fn item(answer: pb::BulkStateItem) -> BulkGetItem {
    let etag = answer.etag.map(|etag| etag.value);
    let present = etag.is_some() || !answer.data.is_empty();
    BulkGetItem {
        key: answer.key,
        value: present.then_some(answer.data),
        etag,
        metadata: answer.metadata,
        error: Some(answer.error).filter(|error| !error.is_empty()),
    }
}

pub(super) fn set(request: &SetRequest) -> pb::SetRequest {
    let content_type = match request.form {
        ValueForm::Json => "application/json",
        ValueForm::Binary => "",
    };
    pb::SetRequest {
        key: request.key.clone(),
        value: request.value.clone(),
        etag: etag(request.etag.as_ref()),
        metadata: request.metadata.clone(),
        options: options(request.concurrency, request.consistency),
        content_type: content_type.into(),
    }
}

pub(super) fn delete(request: &DeleteRequest) -> pb::DeleteRequest {
    pb::DeleteRequest {
        key: request.key.clone(),
        etag: etag(request.etag.as_ref()),
        metadata: request.metadata.clone(),
        options: options(request.concurrency, request.consistency),
    }
}

pub(super) fn transact(request: &TransactRequest) -> pb::TransactionalStateRequest {
    let step = |operation: &Operation| pb::TransactionalStateOperation {
        request: Some(match operation {
            Operation::Set(request) => Step::Set(set(request)),
            Operation::Delete(request) => Step::Delete(delete(request)),
        }),
    };
    pb::TransactionalStateRequest {
        operations: request.operations.iter().map(step).collect(),
        metadata: request.metadata.clone(),
    }
}

pub(super) fn query(request: &QueryRequest) -> pb::QueryRequest {
    let any = |value: &bytes::Bytes| palladium_proto::prost_types::Any {
        type_url: String::new(),
        value: value.to_vec(),
    };
    let order = |descending: bool| {
        if descending {
            pb::sorting::Order::Desc
        } else {
            pb::sorting::Order::Asc
        }
    };
    let sort = request.sort.iter().map(|(key, descending)| pb::Sorting {
        key: key.clone(),
        order: order(*descending).into(),
    });
    pb::QueryRequest {
        query: Some(pb::Query {
            filter: request
                .filter
                .iter()
                .map(|(name, operand)| (name.clone(), any(operand)))
                .collect(),
            sort: sort.collect(),
            pagination: Some(pb::Pagination {
                limit: i64::try_from(request.limit).unwrap_or(i64::MAX),
                token: request.token.clone(),
            }),
        }),
        metadata: request.metadata.clone(),
    }
}

pub(super) fn found(answer: pb::QueryResponse) -> QueryResponse {
    let item = |item: pb::QueryItem| QueryItem {
        key: item.key,
        value: item.data,
        etag: item.etag.map(|etag| etag.value),
        error: Some(item.error).filter(|error| !error.is_empty()),
    };
    QueryResponse {
        items: answer.items.into_iter().map(item).collect(),
        token: answer.token,
        metadata: answer.metadata,
    }
}

pub(super) fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(0)
}

fn etag(etag: Option<&String>) -> Option<pb::Etag> {
    etag.map(|value| pb::Etag { value: value.clone() })
}

fn options(concurrency: Concurrency, consistent: Consistency) -> Option<pb::StateOptions> {
    let concurrency = match concurrency {
        Concurrency::Unspecified => StateConcurrency::ConcurrencyUnspecified,
        Concurrency::FirstWrite => StateConcurrency::ConcurrencyFirstWrite,
        Concurrency::LastWrite => StateConcurrency::ConcurrencyLastWrite,
    };
    Some(pb::StateOptions {
        concurrency: concurrency.into(),
        consistency: consistency(consistent).into(),
    })
}

fn consistency(consistency: Consistency) -> StateConsistency {
    match consistency {
        Consistency::Unspecified => StateConsistency::ConsistencyUnspecified,
        Consistency::Eventual => StateConsistency::ConsistencyEventual,
        Consistency::Strong => StateConsistency::ConsistencyStrong,
    }
}
