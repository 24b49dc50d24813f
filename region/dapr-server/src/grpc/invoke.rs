//! `InvokeService`: a gRPC caller's call of an application, whichever protocol that speaks.
//!
//! One idea: metadata become headers and headers become metadata, except for what belongs to the transport on either
//! side; an HTTP error becomes a status. Must never choose or dial the target itself: that is `crate::invoke`, so that both protocols keep the same rules; nor let a `grpc-*` name through
//! in either direction.

use std::collections::HashMap;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use palladium_proto::common::{InvokeRequest, InvokeResponse};
use palladium_proto::prost_types::Any;
use palladium_proto::runtime::InvokeServiceRequest;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::errors::{Fault, grpc_status};
use crate::http::{Body, read};
use crate::invoke::{Invocation, Origin, Outcome, external, for_grpc, invoke, strip_metadata};
use crate::server::Server;

/// Tells a gRPC caller the application's HTTP status.
const HTTP_STATUS: &str = "dapr-http-status";
/// How much of an application's error text goes into the details of a status, in bytes.
const ERROR_TEXT: usize = 63;
/// Headers that HTTP defines: as metadata they could be taken for the gRPC answer's own.
const PREFIXED: [&str; 12] = [
    "accept",
    "accept-ranges",
    "authorization",
    "cache-control",
    "content-type",
    "cookie",
    "date",
    "from",
    "host",
    "via",
    "warning",
    "user-agent",
];

pub(super) async fn call(
    server: &Server,
    request: Request<InvokeServiceRequest>,
) -> Result<Response<InvokeResponse>, Status> {
    let (metadata, _, InvokeServiceRequest { id, message }) = request.into_parts();
    let failed = |fault: Fault| {
        server.metrics.fault(&fault);
        grpc_status(&fault.report)
    };
    let Some(message) = message else {
        return Err(Status::invalid_argument("the request has no message"));
    };
    let call = invocation(id, message, metadata);
    let target = call.target.clone();
    let reply = invoke(server, call)
        .await
        .map_err(|error| failed(error.fault(&target)))?;
    let held = server.budget.hold();
    let data = read(held.meter(reply.body), server.max_body())
        .await
        .map_err(|fault| failed(Fault::invoke(500, Code::Internal, &target, fault.report.message)))?;
    let mut answer = InvokeResponse {
        data: Some(Any {
            type_url: reply.type_url,
            value: Vec::new(),
        }),
        content_type: reply.content_type,
    };
    let metadata = match reply.outcome {
        Outcome::Http(status) => {
            if !status.is_success() {
                let metadata = metadata_of(&reply.headers, status);
                return Err(from_http(status, &String::from_utf8_lossy(&data), metadata));
            }
            if let Some(kind) = reply.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok())
                && answer.content_type.is_empty()
            {
                answer.content_type = kind.to_owned();
            }
            metadata_of(&reply.headers, status)
        }
        Outcome::Grpc(status) => {
            let mut headers = reply.headers;
            for_grpc(&mut headers, Origin::Grpc);
            if status.code != Code::Ok as i32 {
                let mut failure = external(&status);
                headers.extend(reply.trailers);
                *failure.metadata_mut() = MetadataMap::from_headers(headers);
                return Err(failure);
            }
            MetadataMap::from_headers(headers)
        }
    };
    if let Some(any) = &mut answer.data {
        any.value = data.into();
    }
    Ok(Response::from_parts(metadata, answer, http::Extensions::new()))
}

fn invocation(target: String, message: InvokeRequest, metadata: MetadataMap) -> Invocation {
    let mut headers = metadata.into_headers();
    strip_metadata(&mut headers);
    // The protocol told the calls of gRPC from others by this.
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let data = message.data.unwrap_or_default();
    let length = data.value.len() as u64;
    Invocation {
        target,
        method: message.method,
        http: message.http_extension,
        headers,
        origin: Origin::Grpc,
        content_type: message.content_type,
        type_url: data.type_url,
        length: (length > 0).then_some(length),
        body: if data.value.is_empty() {
            Body::Empty
        } else {
            Body::from(data.value)
        },
    }
}

/// The application's headers and status as metadata.
fn metadata_of(headers: &HeaderMap, status: StatusCode) -> MetadataMap {
    let mut found = HeaderMap::with_capacity(headers.len() + 1);
    for (name, value) in headers {
        let plain = name.as_str();
        if plain.starts_with("grpc-") {
            continue;
        }
        let name = if PREFIXED.contains(&plain) {
            HeaderName::from_bytes(format!("dapr-{plain}").as_bytes()).unwrap_or_else(|_| name.clone())
        } else {
            name.clone()
        };
        found.append(name, value.clone());
    }
    found.insert(HTTP_STATUS, HeaderValue::from(status.as_u16()));
    MetadataMap::from_headers(found)
}

/// An application's HTTP error as a gRPC status.
fn from_http(status: StatusCode, text: &str, metadata: MetadataMap) -> Status {
    let code = match status.as_u16() {
        408 => Code::Cancelled,
        504 => Code::DeadlineExceeded,
        404 => Code::NotFound,
        409 => Code::AlreadyExists,
        403 => Code::PermissionDenied,
        401 => Code::Unauthenticated,
        429 => Code::ResourceExhausted,
        501 => Code::Unimplemented,
        503 => Code::Unavailable,
        400 => Code::Internal,
        _ => Code::Unknown,
    };
    let reason = status.canonical_reason().unwrap_or("Unknown");
    let end = (0..=ERROR_TEXT.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    let about = HashMap::from([
        ("http.code".to_owned(), status.as_u16().to_string()),
        ("http.error_message".to_owned(), text[..end].to_owned()),
    ]);
    let mut failure = Status::with_error_details(code, reason, ErrorDetails::with_error_info(reason, "dapr.io", about));
    *failure.metadata_mut() = metadata;
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_a_bounded_part_of_the_text() {
        let text = format!("{}é", "x".repeat(ERROR_TEXT - 1));
        let status = from_http(StatusCode::NOT_FOUND, &text, MetadataMap::new());
        assert_eq!((status.code(), status.message()), (Code::NotFound, "Not Found"));
        let info = status.get_details_error_info().expect("details");
        assert_eq!(info.metadata["http.error_message"].len(), ERROR_TEXT - 1);
    }

    #[test]
    fn headers_of_http_are_told_apart_from_metadata() {
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("a/b")),
            (HeaderName::from_static("x-mine"), HeaderValue::from_static("1")),
        ]);
        let metadata = metadata_of(&headers, StatusCode::OK);
        assert!(metadata.get("dapr-content-type").is_some() && metadata.get("content-type").is_none());
        assert_eq!(
            metadata.get(HTTP_STATUS).and_then(|status| status.to_str().ok()),
            Some("200")
        );
        assert!(metadata.get("x-mine").is_some());
    }
}
