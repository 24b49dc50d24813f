//! `InvokeService`: a gRPC caller's call of an application that speaks HTTP.
//!
//! One idea: it is the HTTP API's invocation with the request and the answer translated. Metadata become headers and
//! headers become metadata, except for what belongs to the transport on either side. Must never choose or dial the
//! target itself: that is `http::invoke`, so that both protocols keep the same rules; nor let a `grpc-*` name through
//! in either direction.

use std::collections::HashMap;

use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use palladium_proto::common::http_extension::Verb;
use palladium_proto::common::{InvokeRequest, InvokeResponse};
use palladium_proto::prost_types::Any;
use palladium_proto::runtime::InvokeServiceRequest;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::errors::{Fault, grpc_status};
use crate::http::{Body, Invocation, invoke, read};
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
    let call = invocation(id, message, metadata).map_err(failed)?;
    let target = call.target.clone();
    let answer = invoke(server, call).await.map_err(failed)?;
    let (parts, body) = answer.into_parts();
    let held = server.budget.hold();
    let data = read(held.meter(body), server.max_body())
        .await
        .map_err(|fault| failed(Fault::invoke(500, Code::Internal, &target, fault.report.message)))?;
    if !parts.status.is_success() {
        return Err(from_http(
            parts.status,
            &String::from_utf8_lossy(&data),
            metadata_of(&parts.headers, parts.status),
        ));
    }
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let answer = InvokeResponse {
        data: Some(Any {
            type_url: String::new(),
            value: data.into(),
        }),
        content_type: content_type.to_owned(),
    };
    Ok(Response::from_parts(
        metadata_of(&parts.headers, parts.status),
        answer,
        http::Extensions::new(),
    ))
}

fn invocation(target: String, message: InvokeRequest, metadata: MetadataMap) -> Result<Invocation, Fault> {
    let extension = message.http_extension.unwrap_or_default();
    let verb = match extension.verb() {
        Verb::None | Verb::Post => Method::POST,
        Verb::Get => Method::GET,
        Verb::Head => Method::HEAD,
        Verb::Put => Method::PUT,
        Verb::Delete => Method::DELETE,
        Verb::Connect => Method::CONNECT,
        Verb::Options => Method::OPTIONS,
        Verb::Trace => Method::TRACE,
        Verb::Patch => Method::PATCH,
    };
    let mut headers = metadata.into_headers();
    let transport: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("grpc-"))
        .cloned()
        .collect();
    for name in transport.into_iter().chain([TE, USER_AGENT]) {
        headers.remove(name);
    }
    let kind = if message.content_type.is_empty() {
        "application/json"
    } else {
        &message.content_type
    };
    let kind = HeaderValue::from_str(kind)
        .map_err(|_| Fault::invoke(400, Code::InvalidArgument, &target, "the content type is not valid"))?;
    headers.insert(CONTENT_TYPE, kind);
    let data = message.data.unwrap_or_default().value;
    Ok(Invocation {
        target,
        method: message.method,
        query: (!extension.querystring.is_empty()).then_some(extension.querystring),
        verb,
        headers,
        body: if data.is_empty() { Body::Empty } else { Body::from(data) },
    })
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
    fn metadata_become_headers_without_those_of_the_transport() {
        let mut metadata = MetadataMap::new();
        for (name, value) in [("grpc-timeout", "1S"), ("te", "trailers"), ("x-kept", "1")] {
            metadata.insert(name, value.parse().expect("ascii"));
        }
        let message = InvokeRequest {
            method: "a".to_owned(),
            ..InvokeRequest::default()
        };
        let call = invocation("app".to_owned(), message, metadata).expect("valid");
        let mut names: Vec<_> = call.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-kept"]);
        assert_eq!(call.verb, Method::POST);
    }

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
