//! What an application answered, whichever protocol it speaks, and why a call failed.
//!
//! One idea: an HTTP answer and a gRPC answer stay what they are until the caller's own protocol decides how to show
//! them. Must never turn a failure to reach an application into an answer of it.

use http::{HeaderMap, StatusCode};
use palladium_engine_resiliency::Cut;
use palladium_proto::internals::Status as InternalStatus;
use tonic::{Code, Status};

use super::endpoint::EndpointError;
use super::method::MethodError;
use super::peers::ResolveError;
use crate::app_channel::{CallError, strip_response};
use crate::errors::Fault;
use crate::http::Body;

/// How an application's call ended.
#[derive(Debug)]
pub enum Outcome {
    /// An HTTP status.
    Http(StatusCode),
    /// A gRPC status.
    Grpc(InternalStatus),
}

impl Outcome {
    /// Of whichever protocol.
    pub fn code(&self) -> i32 {
        match self {
            Self::Http(status) => status.as_u16().into(),
            Self::Grpc(status) => status.code,
        }
    }
}

/// An application's answer.
#[derive(Debug)]
pub struct Reply {
    /// How it ended.
    pub outcome: Outcome,
    /// Its headers, or metadata.
    pub headers: HeaderMap,
    /// Its trailers, if it speaks gRPC.
    pub trailers: HeaderMap,
    /// What the body is; of an HTTP answer it may also stand in the headers.
    pub content_type: String,
    /// Type of a protobuf body, if it was said.
    pub type_url: String,
    /// The body.
    pub body: Body,
}

impl Reply {
    /// An HTTP answer, without what belongs to the connection it came on.
    pub(super) fn of_http(mut parts: http::response::Parts, body: Body) -> Self {
        strip_response(&mut parts.headers);
        Self {
            outcome: Outcome::Http(parts.status),
            headers: parts.headers,
            trailers: HeaderMap::new(),
            content_type: String::new(),
            type_url: String::new(),
            body,
        }
    }

    /// A gRPC answer without a body.
    pub fn failed(status: &Status) -> Self {
        Self {
            outcome: Outcome::Grpc(internal(status)),
            headers: HeaderMap::new(),
            trailers: HeaderMap::new(),
            content_type: String::new(),
            type_url: String::new(),
            body: Body::Empty,
        }
    }
}

/// A status as it travels between Dapr Servers.
pub fn internal(status: &Status) -> InternalStatus {
    let details = <tonic_types::pb::Status as prost::Message>::decode(status.details())
        .map(|status| status.details)
        .unwrap_or_default();
    InternalStatus {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details,
    }
}

/// The status that travelled.
pub fn external(status: &InternalStatus) -> Status {
    let code = Code::from_i32(status.code);
    if status.details.is_empty() {
        return Status::new(code, &status.message);
    }
    let details = tonic_types::pb::Status {
        code: status.code,
        message: status.message.clone(),
        details: status.details.clone(),
    };
    Status::with_details(code, &status.message, prost::Message::encode_to_vec(&details).into())
}

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// The method cannot be called.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// The target is nobody.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The own application did not answer.
    #[error(transparent)]
    App(#[from] CallError),
    /// There is no own application.
    #[error("app channel is not initialized")]
    NoApp,
    /// The peer refused or failed.
    #[error("{}", go_status(.0))]
    Peer(Box<Status>),
    /// The peer could not be reached, however often it was tried.
    #[error("failed to invoke target {target} after {tries} retries. Error: {}", go_status(.status))]
    Unreachable {
        /// Which App ID.
        target: String,
        /// How often it was tried again.
        tries: u32,
        /// The last failure.
        status: Box<Status>,
    },
    /// An HTTP endpoint was not called, or did not answer.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A policy of the user's ended the call.
    #[error(transparent)]
    Cut(#[from] Cut),
    /// Something else, in words.
    #[error("{0}")]
    Other(String),
}

/// A status as Go writes an error.
fn go_status(status: &Status) -> String {
    format!(
        "rpc error: code = {} desc = {}",
        code_name(status.code()),
        status.message()
    )
}

/// A code as Go writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

impl InvokeError {
    /// As a failed API call.
    pub fn fault(&self, target: &str) -> Fault {
        let (status, code) = match self {
            Self::App(CallError::NoRoom(_)) => return Fault::busy(),
            Self::App(CallError::Stalled) => return Fault::stalled(),
            Self::App(CallError::Timeout(_)) => (500, Code::DeadlineExceeded),
            Self::App(CallError::Busy(_)) => (503, Code::ResourceExhausted),
            Self::App(CallError::TooLarge) => (413, Code::ResourceExhausted),
            Self::Peer(status) if status.code() == Code::PermissionDenied => (403, Code::Internal),
            Self::Endpoint(EndpointError::Undeclared) => (403, Code::PermissionDenied),
            Self::Endpoint(EndpointError::Late { .. }) => (500, Code::DeadlineExceeded),
            _ => (500, Code::Internal),
        };
        Fault::invoke(status, code, target, self)
    }
}

/// The HTTP status of a gRPC code.
pub fn http_status(code: i32) -> StatusCode {
    match Code::from_i32(code) {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
