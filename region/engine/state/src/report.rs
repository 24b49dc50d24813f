//! What a caller is told about a failed state call: Dapr's tags, reasons, codes and words.
//!
//! The one idea: both protocols draw from this one place. The words are Dapr's, because programs match them; where HTTP
//! and gRPC differ in upstream they differ here. Must never reword a message on its own, hold a stored value, or import
//! a protocol's crate (hyper, tonic): it says what is told, not how.

use palladium_component::StateError;
use palladium_component::error::{RemoteError, grpc_code_name};
use palladium_engine_report::{DOMAIN, Detail, Report, code};

use crate::error::{ApiError, Operation};

impl ApiError {
    /// What an HTTP caller is told.
    pub fn http(&self) -> Report {
        match self {
            ApiError::NotConfigured { app_id, .. } | ApiError::NotFound { app_id, .. } if !app_id.is_empty() => {
                let mut report = self.common();
                if let Some(Detail::ErrorInfo { metadata, .. }) = report.details.first_mut() {
                    metadata.push(("appID", app_id.clone()));
                }
                report
            }
            // Upstream wraps this error twice over HTTP; programs see the inner error's text as the message.
            ApiError::IllegalKey { message, .. } => {
                let wrapped = format!(
                    "api error: code = {} desc = {message}",
                    grpc_code_name(code::INVALID_ARGUMENT)
                );
                let mut report = self.common();
                for detail in &mut report.details {
                    if let Detail::BadRequest { description, .. } = detail {
                        *description = wrapped.clone();
                    }
                }
                Report {
                    message: wrapped,
                    ..report
                }
            }
            ApiError::MissingKey => Report {
                tag: "ERR_MALFORMED_REQUEST".into(),
                message: "\"key\" is a required field".into(),
                details: vec![],
                ..self.common()
            },
            ApiError::UnsupportedOperation { .. } => Report {
                http_status: 400,
                details: vec![],
                ..self.common()
            },
            ApiError::Failed {
                store,
                operation,
                source,
            } => {
                // Of several failures HTTP callers are told only the first that is about an etag.
                let told = match operation {
                    Operation::Transaction => source,
                    _ => etag_failure(source).unwrap_or(source),
                };
                let http_status = match (operation, told) {
                    (Operation::Transaction, _) => 500,
                    (_, StateError::EtagMismatch(_)) => 409,
                    (_, StateError::EtagInvalid(_)) => 400,
                    (_, StateError::Remote(remote)) => remote.answer.as_ref().map_or(500, |answer| answer.http_status),
                    _ => 500,
                };
                Report {
                    http_status,
                    details: vec![],
                    ..failed(store, operation, told)
                }
            }
            _ => self.common(),
        }
    }

    /// What a gRPC caller is told.
    pub fn grpc(&self) -> Report {
        match self {
            // A structured answer of a store in another process goes through as it came, except out of a transaction.
            ApiError::Failed {
                operation,
                source: StateError::Remote(remote),
                ..
            } if *operation != Operation::Transaction => passed_through(remote).unwrap_or_else(|| self.common()),
            _ => self.common(),
        }
    }

    fn common(&self) -> Report {
        match self {
            ApiError::NotConfigured { store, .. } => rich(
                (500, code::FAILED_PRECONDITION, "ERR_STATE_STORE_NOT_CONFIGURED"),
                "DAPR_STATE_NOT_CONFIGURED",
                format!("state store {store} is not configured"),
                None,
                vec![],
            ),
            ApiError::NotFound { store, .. } => rich(
                (400, code::INVALID_ARGUMENT, "ERR_STATE_STORE_NOT_FOUND"),
                "DAPR_STATE_NOT_FOUND",
                format!("state store {store} is not found"),
                None,
                vec![],
            ),
            ApiError::IllegalKey { store, key, message } => rich(
                (400, code::INVALID_ARGUMENT, "ERR_MALFORMED_REQUEST"),
                "DAPR_STATE_ILLEGAL_KEY",
                message.clone(),
                Some(store),
                vec![Detail::BadRequest {
                    field: key.clone(),
                    description: message.clone(),
                }],
            ),
            ApiError::MissingKey => basic(
                400,
                code::INVALID_ARGUMENT,
                "ERR_STATE_SAVE",
                "state key cannot be empty".into(),
            ),
            ApiError::TransactionsNotSupported { store } => rich(
                (500, code::UNIMPLEMENTED, "ERR_STATE_STORE_NOT_SUPPORTED"),
                "DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED",
                format!("state store {store} doesn't support transactions"),
                Some(store),
                vec![Detail::Help {
                    url: "https://docs.dapr.io/reference/components-reference/supported-state-stores/",
                    description: "Check the list of state stores and the features they support",
                }],
            ),
            ApiError::TooManyOperations { store, count, max } => {
                let message = format!(
                    "the transaction contains {count} operations, which is more than what the state store supports: {max}"
                );
                let head = (400, code::INVALID_ARGUMENT, "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS");
                let mut report = rich(head, "DAPR_STATE_TOO_MANY_TRANSACTIONS", message, Some(store), vec![]);
                if let Some(Detail::ErrorInfo { metadata, .. }) = report.details.first_mut() {
                    metadata.push(("currentOpsTransaction", count.to_string()));
                    metadata.push(("maxOpsPerTransaction", max.to_string()));
                }
                report
            }
            ApiError::UnsupportedOperation { operation } => basic(
                500,
                code::UNIMPLEMENTED,
                "ERR_NOT_SUPPORTED_STATE_OPERATION",
                format!("operation type {operation} not supported"),
            ),
            ApiError::QueryNotSupported { store } => rich(
                (500, code::INTERNAL, "ERR_STATE_STORE_NOT_SUPPORTED"),
                "DAPR_STATE_QUERYING_NOT_SUPPORTED",
                "state store does not support querying".into(),
                Some(store),
                vec![],
            ),
            ApiError::QueryFailed { store, source } => {
                if let StateError::Remote(remote) = source
                    && let Some(report) = passed_through(remote)
                {
                    return report;
                }
                rich(
                    (500, code::INTERNAL, "ERR_STATE_QUERY"),
                    "DAPR_STATE_QUERY_FAILED",
                    format!("state store {store} query failed: {source}"),
                    Some(store),
                    vec![],
                )
            }
            ApiError::Failed {
                store,
                operation,
                source,
            } => failed(store, operation, source),
        }
    }
}

/// The failure about an etag in a failure, if there is one: it decides the class of a bulk call, whatever else failed.
fn etag_failure(source: &StateError) -> Option<&StateError> {
    match source {
        StateError::EtagMismatch(_) | StateError::EtagInvalid(_) => Some(source),
        StateError::Bulk(failures) => failures.iter().find_map(|failure| etag_failure(&failure.error)),
        _ => None,
    }
}

fn failed(store: &str, operation: &Operation, source: &StateError) -> Report {
    let grpc_code = match (operation, etag_failure(source)) {
        (Operation::Transaction, _) => code::INTERNAL,
        (_, Some(StateError::EtagMismatch(_))) => code::ABORTED,
        (_, Some(StateError::EtagInvalid(_))) => code::INVALID_ARGUMENT,
        _ => code::INTERNAL,
    };
    let (tag, message) = match operation {
        Operation::Get { key } => (
            "ERR_STATE_GET",
            format!("fail to get {key} from state store {store}: {source}"),
        ),
        Operation::Save => (
            "ERR_STATE_SAVE",
            format!("failed saving state in state store {store}: {source}"),
        ),
        Operation::Delete { key } => (
            "ERR_STATE_DELETE",
            format!("failed deleting state with key {key}: {source}"),
        ),
        Operation::BulkGet => ("ERR_STATE_BULK_GET", source.to_string()),
        Operation::BulkDelete => (
            "ERR_STATE_BULK_DELETE",
            format!("failed deleting state in state store {store}: {source}"),
        ),
        Operation::Transaction => (
            "ERR_STATE_TRANSACTION",
            format!("error while executing state transaction: {source}"),
        ),
    };
    basic(500, grpc_code, tag, message)
}

/// An error whose only detail repeats the tag; over HTTP it has no details.
fn basic(http_status: u16, grpc_code: u32, tag: &str, message: String) -> Report {
    let info = Detail::ErrorInfo {
        reason: tag.into(),
        domain: DOMAIN.into(),
        metadata: vec![],
    };
    Report {
        http_status,
        grpc_code,
        tag: tag.into(),
        message,
        details: vec![info],
    }
}

/// An error with a reason of its own; `store` adds the resource.
fn rich(head: (u16, u32, &str), reason: &str, message: String, store: Option<&String>, more: Vec<Detail>) -> Report {
    let (http_status, grpc_code, tag) = head;
    let mut details = vec![Detail::ErrorInfo {
        reason: reason.into(),
        domain: DOMAIN.into(),
        metadata: vec![],
    }];
    details.extend(store.map(|store| Detail::ResourceInfo {
        resource_type: "state",
        resource_name: store.clone(),
        description: String::new(),
    }));
    details.extend(more);
    Report {
        http_status,
        grpc_code,
        tag: tag.into(),
        message,
        details,
    }
}

fn passed_through(remote: &RemoteError) -> Option<Report> {
    let answer = remote.answer.as_ref()?;
    Some(Report {
        http_status: answer.http_status,
        grpc_code: remote.grpc_code,
        tag: answer.tag.clone(),
        message: remote.message.clone(),
        details: vec![Detail::ErrorInfo {
            reason: answer.reason.clone(),
            domain: answer.domain.clone(),
            metadata: vec![],
        }],
    })
}
