//! The form in which a failed call is told, the same for all building blocks and both protocols.
//!
//! One idea: codes, tag, words and details are data; engines fill them in, `dapr-server` writes them as HTTP or gRPC. Must
//! never hold a stored value or a message, or import a protocol's crate.

/// gRPC status codes, as far as engines use them.
pub mod code {
    /// The request is wrong.
    pub const INVALID_ARGUMENT: u32 = 3;
    /// What is named does not exist.
    pub const NOT_FOUND: u32 = 5;
    /// The caller may not.
    pub const PERMISSION_DENIED: u32 = 7;
    /// Not as things stand.
    pub const FAILED_PRECONDITION: u32 = 9;
    /// Somebody else was faster.
    pub const ABORTED: u32 = 10;
    /// There is no such operation here.
    pub const UNIMPLEMENTED: u32 = 12;
    /// Anything else.
    pub const INTERNAL: u32 = 13;
}

/// Who says so, in every `ErrorInfo` of ours.
pub const DOMAIN: &str = "dapr.io";

/// One detail of an error: the `google.rpc` messages of a gRPC status, the `details` of an HTTP body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// `google.rpc.ErrorInfo`.
    ErrorInfo {
        /// Why, for programs.
        reason: String,
        /// Who says so.
        domain: String,
        /// More, for programs; empty = absent.
        metadata: Vec<(&'static str, String)>,
    },
    /// `google.rpc.ResourceInfo`.
    ResourceInfo {
        /// Such as `state`.
        resource_type: &'static str,
        /// The component.
        resource_name: String,
        /// What is wrong with it; may be empty.
        description: String,
    },
    /// `google.rpc.BadRequest` with one field violation.
    BadRequest {
        /// The field.
        field: String,
        /// What is wrong with it.
        description: String,
    },
    /// `google.rpc.Help` with one link.
    Help {
        /// Where to read on.
        url: &'static str,
        /// What is to be found there.
        description: &'static str,
    },
}

/// A complete error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// HTTP status.
    pub http_status: u16,
    /// gRPC status code.
    pub grpc_code: u32,
    /// Error code of the HTTP body, also the label of error metrics.
    pub tag: String,
    /// Message for people.
    pub message: String,
    /// The details; empty = the plain form of the HTTP body without `details`.
    pub details: Vec<Detail>,
}
