//! How a driver fails. The classes are those an API has to tell apart; everything else is a message.
//!
//! The one idea: the class decides status code and retry, the message is for people. A message must never contain a
//! value of a sensitive metadata field or a stored value.

use bytes::Bytes;
use thiserror::Error;

use crate::metadata::MetadataError;

/// Failure of one call to a state store.
#[derive(Debug, Clone, Error)]
pub enum StateError {
    /// The stored etag is not the one the caller named, or a first write met an existing key. Never retried.
    #[error("possible etag mismatch. error from state store{}", suffix(.0))]
    EtagMismatch(Option<String>),
    /// The etag cannot be one of this store's. Never retried.
    #[error("invalid etag value{}", suffix(.0))]
    EtagInvalid(Option<String>),
    /// The store has no such operation.
    #[error("{0}")]
    NotSupported(String),
    /// The request itself is wrong: an option, a TTL, an empty key. Repeating it cannot help.
    #[error("{0}")]
    Invalid(String),
    /// Some items of a bulk call failed; those not named succeeded.
    #[error("{}", join(.0))]
    Bulk(Vec<BulkFailure>),
    /// The store lives in another process, which answered with a structured error of its own.
    #[error("{}", .0.message)]
    Remote(Box<RemoteError>),
    /// The store could not be reached or did not answer in time. The outcome of a write is unknown.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl StateError {
    /// An etag error is final: the same request can never succeed.
    pub fn is_etag(&self) -> bool {
        matches!(self, StateError::EtagMismatch(_) | StateError::EtagInvalid(_))
    }

    /// Whether the same request may succeed when it is sent again.
    pub fn retryable(&self) -> bool {
        match self {
            StateError::EtagMismatch(_)
            | StateError::EtagInvalid(_)
            | StateError::NotSupported(_)
            | StateError::Invalid(_) => false,
            StateError::Bulk(failures) => failures.iter().any(|failure| failure.error.retryable()),
            StateError::Remote(_) | StateError::Unavailable(_) | StateError::Other(_) => true,
        }
    }
}

/// One failed item of a bulk call.
#[derive(Debug, Clone)]
pub struct BulkFailure {
    /// Key as it was given to the driver, that is, with its prefix.
    pub key: String,
    /// Why this item failed.
    pub error: StateError,
}

/// A structured error from a store in another process (gRPC status with details), kept as it came.
#[derive(Debug, Clone, Default)]
pub struct RemoteError {
    /// gRPC status code, 0..=16.
    pub grpc_code: u32,
    /// HTTP status the other side asked for, if it did.
    pub http_status: Option<u16>,
    /// Message for people.
    pub message: String,
    /// Dapr's error tag (`ERR_…`), if the other side named one.
    pub tag: Option<String>,
    /// The status details.
    pub details: Vec<RemoteDetail>,
}

/// One detail of a gRPC status: a packed protobuf message.
#[derive(Debug, Clone)]
pub struct RemoteDetail {
    /// For instance `type.googleapis.com/google.rpc.ErrorInfo`.
    pub type_url: String,
    /// The serialized message.
    pub value: Bytes,
}

/// A component could not be opened. The message names the field, the reason and the remedy, and no secret.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A metadata field is missing, unknown in form, or contradicts another.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The component is not allowed here, for instance a file path outside the App ID's own folder in platform mode.
    #[error("not allowed here: {0}")]
    NotAllowed(String),
    /// The component is fine, but what it talks to is not there.
    #[error("{0}")]
    Unavailable(String),
}

fn suffix(detail: &Option<String>) -> String {
    detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default()
}

fn join(failures: &[BulkFailure]) -> String {
    let lines: Vec<String> = failures.iter().map(|failure| failure.error.to_string()).collect();
    lines.join("\n")
}
