//! Dapr's two error forms, and how each is written for HTTP and for gRPC.
//!
//! One idea: whatever fails becomes a [`Fault`] (codes, tag, words, details); only this file turns one into bytes. An
//! HTTP body has `errorCode` and `message`, and `details` only in the rich form. Must never carry a secret or a stored
//! value.

use bytes::Bytes;
use http::StatusCode;
use palladium_engine_pubsub::ApiError as PubsubError;
use palladium_engine_state::{ApiError, Detail, Report};
use palladium_proto::prost_types::Any;
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::pb;

use crate::app_channel::{CallError, failure};
use crate::http::BoxError;
use crate::server::Server;

/// A failed API call, ready to be answered.
#[derive(Debug)]
pub struct Fault {
    /// Codes, tag, message and details.
    pub report: Report,
    /// Label of the error metric.
    pub category: &'static str,
}

impl Fault {
    /// An error without details.
    pub fn plain(http_status: u16, grpc: Code, tag: &str, category: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        let report = Report {
            http_status,
            grpc_code: grpc as u32,
            tag: tag.to_owned(),
            message,
            details: Vec::new(),
        };
        Self { report, category }
    }

    /// A request body that is not what the API takes.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::plain(400, Code::InvalidArgument, "ERR_MALFORMED_REQUEST", "common", message)
    }

    /// A request body that could not be read.
    pub fn unreadable(reason: impl std::fmt::Display) -> Self {
        let message = format!("failed to read request body: {reason}");
        Self::plain(400, Code::InvalidArgument, "ERR_BODY_READ", "common", message)
    }

    /// No room for what a call has to hold.
    pub fn busy() -> Self {
        let message = "the Dapr Server holds too much data at a time; try again";
        Self::plain(
            503,
            Code::ResourceExhausted,
            "ERR_RESOURCE_EXHAUSTED",
            "common",
            message,
        )
    }

    /// A request body that stopped coming.
    pub fn stalled() -> Self {
        let message = "failed to read request body: it did not come in time";
        Self::plain(408, Code::DeadlineExceeded, "ERR_BODY_READ", "common", message)
    }

    /// Why a body could not be read: for want of room, or because it stalled; `None` for any other reason.
    pub fn of_body(error: &BoxError) -> Option<Self> {
        match failure(&**error) {
            CallError::NoRoom(_) => Some(Self::busy()),
            CallError::Stalled => Some(Self::stalled()),
            _ => None,
        }
    }

    /// A failed invocation of an application.
    pub fn invoke(http_status: u16, grpc: Code, target: &str, reason: impl std::fmt::Display) -> Self {
        let message = format!("failed to invoke, id: {target}, err: {reason}");
        Self::plain(http_status, grpc, "ERR_DIRECT_INVOKE", "service-invocation", message)
    }

    /// A failed state call, as HTTP callers see it.
    pub fn state_http(error: &ApiError) -> Self {
        Self::state(error.http())
    }

    /// A failed publish/subscribe call.
    pub fn pubsub(error: &PubsubError) -> Self {
        Self {
            report: error.report(),
            category: "pubsub",
        }
    }

    fn state(report: Report) -> Self {
        let own = report.tag != "ERR_MALFORMED_REQUEST" || !report.details.is_empty();
        Self {
            report,
            category: if own { "state" } else { "common" },
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.report.http_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The HTTP body.
    pub fn body(&self) -> Bytes {
        let mut body = json!({ "errorCode": self.report.tag, "message": self.report.message });
        if !self.report.details.is_empty() {
            body["details"] = self.report.details.iter().map(detail_json).collect();
        }
        body.to_string().into()
    }
}

/// A failed state call, as gRPC callers see it, and the fault for counting it.
pub fn state_grpc(error: &ApiError) -> (Status, Fault) {
    let fault = Fault::state(error.grpc());
    (grpc_status(&fault.report), fault)
}

/// A failed call, as gRPC callers see it; counted.
pub fn grpc_fault(server: &Server, fault: &Fault) -> Status {
    server.metrics.fault(fault);
    tracing::debug!("{}: {}", fault.category, fault.report.message);
    grpc_status(&fault.report)
}

/// A failed publish/subscribe call, as gRPC callers see it; counted.
pub fn pubsub_grpc(server: &Server, error: &PubsubError) -> Status {
    let fault = Fault::pubsub(error);
    server.metrics.fault(&fault);
    tracing::debug!("pubsub: {}", fault.report.message);
    grpc_status(&fault.report)
}

/// The gRPC status of a report.
pub fn grpc_status(report: &Report) -> Status {
    let code = Code::from_i32(i32::try_from(report.grpc_code).unwrap_or(Code::Unknown as i32));
    if report.details.is_empty() {
        return Status::new(code, &report.message);
    }
    let status = pb::Status {
        code: code as i32,
        message: report.message.clone(),
        details: report.details.iter().map(detail_any).collect(),
    };
    Status::with_details(code, &report.message, status.encode_to_vec().into())
}

const TYPES: &str = "type.googleapis.com/google.rpc.";

fn detail_json(detail: &Detail) -> Value {
    match detail {
        Detail::ErrorInfo {
            reason,
            domain,
            metadata,
        } => {
            let metadata: serde_json::Map<_, _> = metadata
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())))
                .collect();
            let metadata = if metadata.is_empty() {
                Value::Null
            } else {
                metadata.into()
            };
            json!({ "@type": format!("{TYPES}ErrorInfo"), "reason": reason, "domain": domain, "metadata": metadata })
        }
        Detail::ResourceInfo {
            resource_type,
            resource_name,
            description,
        } => json!({
            "@type": format!("{TYPES}ResourceInfo"), "resource_type": resource_type, "resource_name": resource_name,
            "owner": "", "description": description,
        }),
        Detail::BadRequest { field, description } => json!({
            "@type": format!("{TYPES}BadRequest"),
            "field_violations": [{ "field": field, "description": description }],
        }),
        Detail::Help { url, description } => json!({
            "@type": format!("{TYPES}Help"), "links": [{ "url": url, "description": description }],
        }),
    }
}

fn detail_any(detail: &Detail) -> Any {
    let (name, value) = match detail {
        Detail::ErrorInfo {
            reason,
            domain,
            metadata,
        } => {
            let metadata = metadata
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            (
                "ErrorInfo",
                pb::ErrorInfo {
                    reason: reason.clone(),
                    domain: domain.clone(),
                    metadata,
                }
                .encode_to_vec(),
            )
        }
        Detail::ResourceInfo {
            resource_type,
            resource_name,
            description,
        } => {
            let info = pb::ResourceInfo {
                resource_type: (*resource_type).to_owned(),
                resource_name: resource_name.clone(),
                description: description.clone(),
                ..pb::ResourceInfo::default()
            };
            ("ResourceInfo", info.encode_to_vec())
        }
        Detail::BadRequest { field, description } => {
            let violation = pb::bad_request::FieldViolation {
                field: field.clone(),
                description: description.clone(),
                ..pb::bad_request::FieldViolation::default()
            };
            (
                "BadRequest",
                pb::BadRequest {
                    field_violations: vec![violation],
                }
                .encode_to_vec(),
            )
        }
        Detail::Help { url, description } => {
            let link = pb::help::Link {
                description: (*description).to_owned(),
                url: (*url).to_owned(),
            };
            ("Help", pb::Help { links: vec![link] }.encode_to_vec())
        }
    };
    Any {
        type_url: format!("{TYPES}{name}"),
        value,
    }
}
