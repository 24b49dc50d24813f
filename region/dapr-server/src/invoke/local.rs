//! Calls of the own application, by HTTP or by gRPC as it speaks.
//!
//! One idea: whoever calls (the own caller, a peer), the same call is made: canonical method, headers without anything of
//! the connection before. Must never decode a method: it came here decoded and judged.

use std::time::Instant;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use palladium_proto::common::http_extension::Verb;
use palladium_proto::common::{HttpExtension, InvokeRequest};
use palladium_proto::prost_types::Any;
use prost::Message as _;
use tonic::{Code, Status};

use super::metadata::{self, Origin};
use super::method::to_path;
use super::reply::{InvokeError, Outcome, Reply, internal};
use crate::app_channel::{AppChannel, CallError, GrpcApp, ON_INVOKE, collected};
use crate::http::Body;
use crate::server::Server;
use crate::trace;

const PROTOBUF: &str = "application/x-protobuf";

/// What is called, without where.
#[derive(Debug)]
pub struct Call {
    /// Canonical, decoded.
    pub method: String,
    /// Verb and query; a gRPC caller may leave them out.
    pub http: Option<HttpExtension>,
    /// The caller's headers or metadata, stamped with who calls whom.
    pub headers: HeaderMap,
    /// Which of the two.
    pub origin: Origin,
    /// What the body is; empty = not said.
    pub content_type: String,
    /// Type of a protobuf body; empty = not said.
    pub type_url: String,
    /// The body.
    pub body: Body,
}

/// Calls the own application.
///
/// # Errors
/// When there is none, or it did not answer.
pub async fn call(server: &Server, call: Call) -> Result<Reply, InvokeError> {
    let Some(app) = server.app.load_full() else {
        return Err(InvokeError::NoApp);
    };
    match app.grpc() {
        // Apart, so that the state of a call over HTTP stays small.
        Some(grpc) => Box::pin(by_grpc(server, &app, grpc, call)).await,
        None => by_http(&app, call).await,
    }
}

/// A call as HTTP.
pub(super) struct HttpCall {
    pub(super) method: Method,
    /// With its slash and its query, percent-encoded.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Call {
    /// The same as HTTP, whichever protocol it came by.
    pub(super) fn into_http(self) -> Result<HttpCall, InvokeError> {
        let refuse = |words: &str| InvokeError::Peer(Box::new(Status::invalid_argument(words)));
        let http = self.http.ok_or_else(|| refuse("missing HTTP extension field"))?;
        let method = method_of(http.verb()).ok_or_else(|| refuse("invalid HTTP verb"))?;
        let path = to_path(&self.method, &http.querystring)?;
        let mut headers = self.headers;
        metadata::for_http(&mut headers);
        trace::for_http(&mut headers);
        let kind = if self.type_url.is_empty() {
            &self.content_type
        } else {
            PROTOBUF
        };
        match HeaderValue::from_str(kind) {
            Ok(kind) if !kind.is_empty() => headers.insert(CONTENT_TYPE, kind),
            _ => headers.remove(CONTENT_TYPE),
        };
        Ok(HttpCall {
            method,
            path,
            headers,
            body: self.body,
        })
    }
}

async fn by_http(app: &AppChannel, call: Call) -> Result<Reply, InvokeError> {
    let call = call.into_http()?;
    let answer = app.call(call.method, &call.path, call.headers, call.body).await?;
    let (parts, body) = answer.into_parts();
    Ok(Reply::of_http(parts, app.whole_if_short(body).await?))
}

async fn by_grpc(server: &Server, app: &AppChannel, grpc: &GrpcApp, call: Call) -> Result<Reply, InvokeError> {
    if !app.is_healthy() {
        return Err(CallError::Unhealthy.into());
    }
    let held = server.budget.hold();
    let data = collected(call.body, &held, server.max_body()).await?;
    let mut headers = call.headers;
    metadata::for_grpc(&mut headers, call.origin);
    trace::for_grpc(&mut headers);
    let request = InvokeRequest {
        method: call.method,
        data: Some(Any {
            type_url: call.type_url,
            value: data.into(),
        }),
        content_type: call.content_type,
        http_extension: call.http,
    };
    let _permit = app.permit().await?;
    // From here on the message counts that is made of it.
    drop(held);
    let (start, sent) = (Instant::now(), request.encoded_len());
    let invoking = grpc.invoke(request, headers, server.max_body(), &server.budget);
    let invoked = app.in_time(invoking).await;
    let (code, received) = match &invoked {
        Ok(invoked) => (invoked.status.code(), invoked.message.encoded_len()),
        Err(_) => (Code::Unavailable, 0),
    };
    server
        .metrics
        .grpc_client(ON_INVOKE, code, Some((sent, received)), start.elapsed());
    let invoked = match invoked {
        Ok(invoked) => invoked,
        Err(CallError::Transport(reason)) => {
            return Ok(Reply::failed(&Status::new(Code::Unavailable, reason)));
        }
        Err(error) => return Err(error.into()),
    };
    let data = invoked.message.data.unwrap_or_default();
    Ok(Reply {
        outcome: Outcome::Grpc(internal(&invoked.status)),
        headers: invoked.headers,
        trailers: invoked.trailers,
        content_type: invoked.message.content_type,
        type_url: data.type_url,
        body: if data.value.is_empty() {
            Body::Empty
        } else {
            Body::from(data.value)
        },
    })
}

/// The HTTP method of a verb; none for those that cannot be sent.
fn method_of(verb: Verb) -> Option<Method> {
    Some(match verb {
        Verb::None | Verb::Connect => return None,
        Verb::Get => Method::GET,
        Verb::Head => Method::HEAD,
        Verb::Post => Method::POST,
        Verb::Put => Method::PUT,
        Verb::Delete => Method::DELETE,
        Verb::Options => Method::OPTIONS,
        Verb::Trace => Method::TRACE,
        Verb::Patch => Method::PATCH,
    })
}

/// The verb of an HTTP method; one that the protocol does not know is a POST, as with the original.
pub fn verb_of(method: &Method) -> Verb {
    match method.as_str() {
        "GET" => Verb::Get,
        "HEAD" => Verb::Head,
        "PUT" => Verb::Put,
        "DELETE" => Verb::Delete,
        "CONNECT" => Verb::Connect,
        "OPTIONS" => Verb::Options,
        "TRACE" => Verb::Trace,
        "PATCH" => Verb::Patch,
        _ => Verb::Post,
    }
}
