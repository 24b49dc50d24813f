//! How a driver fails. The classes are those an API has to tell apart; everything else is a message.
//!
//! The one idea: the class decides status code and retry, the message is for people. A message must never contain a
//! value of a sensitive metadata field or a stored value.

use std::fmt;

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
    #[error("{0}")]
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
}

/// Failure of one call to a component of a building block that tells no more classes apart than these.
#[derive(Debug, Clone, Error)]
pub enum CallError {
    /// The component has no such operation.
    #[error("{0}")]
    NotSupported(String),
    /// The request itself is wrong. Repeating it cannot help.
    #[error("{0}")]
    Invalid(String),
    /// The component lives in another process, which answered with an error of its own.
    #[error("{0}")]
    Remote(Box<RemoteError>),
    /// The service could not be reached or did not answer in time.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// One failed item of a bulk call.
#[derive(Debug, Clone)]
pub struct BulkFailure {
    /// Key as it was given to the driver, that is, with its prefix.
    pub key: String,
    /// Why this item failed.
    pub error: StateError,
}

/// An error that a store in another process answered with, kept as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteError {
    /// gRPC status code, 0..=16.
    pub grpc_code: u32,
    /// Message for people.
    pub message: String,
    /// What the other side wants an API to answer, if it said so.
    pub answer: Option<RemoteAnswer>,
}

/// The answer that a store in another process wants an API to give.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteAnswer {
    /// HTTP status.
    pub http_status: u16,
    /// Error code of the HTTP body.
    pub tag: String,
    /// Reason of the `ErrorInfo` detail.
    pub reason: String,
    /// Domain of the `ErrorInfo` detail.
    pub domain: String,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.answer.is_some() { "api" } else { "rpc" };
        write!(
            f,
            "{kind} error: code = {} desc = {}",
            grpc_code_name(self.grpc_code),
            self.message
        )
    }
}

/// Name of a gRPC status code as Dapr's messages spell it.
pub fn grpc_code_name(code: u32) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    NAMES.get(code as usize).copied().unwrap_or("Unknown")
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
