//! Calls that other Dapr Servers make of the own application.
//!
//! One idea: who calls is what the connection's certificate says, where there is mutual TLS; what a request claims about it is replaced before access
//! control and the application see it. Must never pass a call on to a third App ID, nor decode a method.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use hyper::service::service_fn;
use palladium_http::{Accept, Connection, Server as HttpServer, Upload};
use palladium_proto::common::InvokeResponse;
use palladium_proto::common::http_extension::Verb;
use palladium_proto::prost_types::Any;
use palladium_spiffe::SpiffeId;
use prost::Message as _;
use tonic::{Code, Status};

use super::access::Question;
use super::caller::HEAD_ROOM;
use super::chunks::Chunks;
use super::local::{self, Call};
use super::metadata::{self, CALLER, CALLER_NAMESPACE, Origin, Parties};
use super::method::canonical;
use super::payload::{Messages, Payloads, ReadError};
use super::proxy;
use super::reply::{InvokeError, Outcome, Reply};
use super::seen::{Seen, Stands};
use super::wire::{self, StreamedRequest};
use crate::app_channel::{CallError, collected, failure, strip_response};
use crate::http::Body;
use crate::server::Server;

/// How long the message with the head is waited for, and at which pace a call must come that is not streamed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the first piece of a body is waited for that may not come at all.
const FIRST_PIECE: Duration = Duration::from_millis(200);

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Answers one call of the internal port.
pub async fn handle(server: &Server, connection: &Connection, request: Request<Upload>) -> Response<Body> {
    let path = request.uri().path();
    let peer = connection.peer.as_ref();
    // A call is handed on as a whole before it begins: what is large stands apart from it.
    let answer = match path.strip_prefix(wire::SERVICE) {
        Some("CallLocalStream") => Box::pin(stream(server, peer, request)).await,
        Some("CallLocal") => Box::pin(unary(server, peer, request)).await,
        Some(_) => Err(Status::unimplemented(format!("unknown method {path}"))),
        None => Box::pin(proxy::from_peer(server, peer, request)).await,
    };
    answer.unwrap_or_else(|status| refused(&status))
}

/// Answers the calls of one internal port until the server's own shutdown.
pub async fn serve<L: Accept>(server: Arc<Server>, listener: HttpServer<L>) {
    let shutdown = server.shutdown.clone();
    let make = move |connection: Arc<Connection>| {
        let server = server.clone();
        service_fn(move |request: Request<Upload>| {
            let (server, connection) = (server.clone(), connection.clone());
            async move { Ok::<_, Infallible>(handle(&server, &connection, request).await) }
        })
    };
    listener.serve(make, &shutdown).await;
}

/// One message, with its prefix, and a good end.
pub fn answered(message: Bytes) -> Response<Body> {
    let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    accepted(Body::Message(Some(message), Some(trailers)))
}

/// A status without an answer.
pub fn refused(status: &Status) -> Response<Body> {
    let mut answer = Response::new(Body::Empty);
    let headers = answer.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if status.add_header(headers).is_err() {
        headers.insert(GRPC_STATUS, HeaderValue::from(status.code() as i32));
    }
    answer
}

fn accepted(body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

async fn stream(
    server: &Server,
    peer: Option<&SpiffeId>,
    mut request: Request<Upload>,
) -> Result<Response<Body>, Status> {
    ready(server)?;
    let stands = Stands::beside(request.headers_mut());
    let limit = server.max_body().saturating_add(HEAD_ROOM);
    let mut messages = Messages::new(request.into_body(), limit, &server.budget);
    let unreadable = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
    let first = tokio::time::timeout(PATIENCE, messages.next())
        .await
        .map_err(|_| Status::deadline_exceeded("the request did not come in time"))?
        .map_err(|error| unread(&error))?
        .ok_or_else(|| Status::internal("the request has no message"))?;
    let mut first = StreamedRequest::decode(first).map_err(|error| unreadable(&error))?;
    let head = first
        .head
        .take()
        .filter(|head| head.message.is_some() && !head.metadata.is_empty());
    let Some(mut head) = head else {
        return Err(bad("request does not contain the required fields in the leading chunk"));
    };
    let metadata = metadata::from_peer(std::mem::take(&mut head.metadata));
    let events = metadata::wants_events(&metadata.headers);
    let length = metadata.length;
    let mut payloads = Payloads::new(messages, first, length, None).map_err(|error| bad(&error.to_string()))?;
    let mut call = call(server, peer, head, metadata.headers, Body::Empty)?;
    let verb = call.http.as_ref().map_or(Verb::None, |http| http.verb());
    if length.is_none() && matches!(verb, Verb::Get | Verb::Head | Verb::Delete | Verb::Options) {
        // Most of these have no body, but only the end of the stream says so.
        if let Ok(peeked) = tokio::time::timeout(FIRST_PIECE, payloads.peek()).await {
            peeked.map_err(|error| unread(&error))?;
        }
    }
    if !payloads.is_over() {
        call.body = Body::FromCaller(Box::new(payloads));
    }
    let seen = Seen::begin(server, "CallLocalStream", stands, &mut call);
    let outcome = local::call(server, call).await;
    seen.end(&outcome);
    let reply = outcome.map_err(|error| failed(&error))?;
    if events && !is_success(&reply.outcome) {
        // The original's answer to whoever wanted events and gets none.
        return Err(Status::internal(
            "error invoking app channel: no response received from stream",
        ));
    }
    let (head, body) = answer(reply, None);
    let body = match body {
        Body::Full(Some(bytes)) => Body::from(tied(server, bytes)?),
        other => other,
    };
    let chunks = Chunks::answer(wire::head_field(&head), body);
    Ok(accepted(Body::Chunks(Box::new(chunks))))
}

async fn unary(
    server: &Server,
    peer: Option<&SpiffeId>,
    mut request: Request<Upload>,
) -> Result<Response<Body>, Status> {
    ready(server)?;
    let stands = Stands::beside(request.headers_mut());
    let limit = server.max_body().saturating_add(HEAD_ROOM);
    let mut messages = Messages::new(request.into_body().hurried(PATIENCE), limit, &server.budget);
    let request = messages.only::<wire::Request>().await;
    let mut head = request
        .map_err(|error| match failure(&error) {
            CallError::Transport(_) => bad(&error.to_string()),
            reason => Status::from(reason),
        })?
        .ok_or_else(|| Status::internal("the request has no message"))?;
    let data = head.message.as_mut().and_then(|message| message.data.as_mut());
    let data = data.map(|data| std::mem::take(&mut data.value)).unwrap_or_default();
    let body = if data.is_empty() {
        Body::Empty
    } else {
        Body::from(tied(server, data)?)
    };
    let metadata = metadata::from_peer(std::mem::take(&mut head.metadata));
    let mut call = call(server, peer, head, metadata.headers, body)?;
    let seen = Seen::begin(server, "CallLocal", stands, &mut call);
    let outcome = local::call(server, call).await;
    seen.end(&outcome);
    let mut reply = outcome.map_err(|error| failed(&error))?;
    let body = std::mem::replace(&mut reply.body, Body::Empty);
    let held = server.budget.hold();
    let data = collected(body, &held, server.max_body())
        .await
        .map_err(|error| match error {
            CallError::NoRoom(_) => Status::from(error),
            other => Status::internal(other.to_string()),
        })?;
    let (head, _) = answer(reply, Some(data.into()));
    drop(held);
    Ok(answered(tied(server, wire::framed(&head))?))
}

/// Bytes that count until they are gone.
fn tied(server: &Server, bytes: impl Into<Bytes>) -> Result<Bytes, Status> {
    let tied = server.budget.tie(bytes.into());
    tied.map_err(|error| Status::from(CallError::from(error)))
}

/// Why a request cannot be read.
fn unread(error: &ReadError) -> Status {
    match failure(error) {
        CallError::Transport(_) => Status::internal(error.to_string()),
        reason => Status::from(reason),
    }
}

fn ready(server: &Server) -> Result<(), Status> {
    if server.app.load().is_none() {
        return Err(Status::internal("app channel is not initialized"));
    }
    Ok(())
}

fn bad(words: &str) -> Status {
    Status::invalid_argument(format!("parsing InternalInvokeRequest error: {words}"))
}

fn failed(error: &InvokeError) -> Status {
    let words = match error {
        InvokeError::App(CallError::NoRoom(_) | CallError::Busy(_)) => {
            return Status::resource_exhausted(error.to_string());
        }
        // It says so already.
        InvokeError::App(error @ (CallError::Transport(_) | CallError::Timeout(_))) => error.to_string(),
        other => format!("error invoking app channel: {other}"),
    };
    Status::internal(words)
}

fn is_success(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Http(status) => status.is_success(),
        Outcome::Grpc(status) => status.code == Code::Ok as i32,
    }
}

/// The call that a request means: canonical, permitted, and stamped with who really calls.
fn call(
    server: &Server,
    peer: Option<&SpiffeId>,
    head: wire::Request,
    mut headers: HeaderMap,
    body: Body,
) -> Result<Call, Status> {
    if head.version != wire::V1 {
        return Err(Status::unimplemented(format!(
            "Unsupported spec version: {}",
            head.version
        )));
    }
    let message = head.message.ok_or_else(|| bad("field Message is nil"))?;
    let method = canonical(&message.method).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let verb = message
        .http_extension
        .as_ref()
        .map(|http| http.verb())
        .filter(|verb| *verb != Verb::None);
    permit(server, peer, &method, verb, false)?;
    // Before stamping: what a peer's `connection` names must not take the stamp along at the next hop.
    strip_response(&mut headers);
    stamp(server, peer, &mut headers);
    let origin = if headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
    {
        Origin::Grpc
    } else {
        Origin::Http
    };
    Ok(Call {
        method: method.into_owned(),
        http: message.http_extension,
        headers,
        origin,
        content_type: message.content_type,
        type_url: message.data.map(|data| data.type_url).unwrap_or_default(),
        body,
    })
}

/// Asks the access control list, if there is one.
///
/// # Errors
/// The refusal.
pub fn permit(
    server: &Server,
    peer: Option<&SpiffeId>,
    method: &str,
    verb: Option<Verb>,
    proxied: bool,
) -> Result<(), Status> {
    let rules = server.rules.load();
    let Some(access) = &rules.access else {
        return Ok(());
    };
    let question = Question {
        caller: peer,
        method,
        verb: verb.as_ref().map(Verb::as_str_name),
        proxied,
    };
    let judged = access.check(&question);
    if let Some(peer) = peer {
        server.metrics.judged(peer, access.knows(peer), judged.is_ok());
    }
    judged.map_err(Status::permission_denied)
}

/// Says who calls: by the certificate, or as the peer says where there is none.
pub fn stamp(server: &Server, peer: Option<&SpiffeId>, headers: &mut HeaderMap) {
    let claimed = |name: &str, headers: &HeaderMap| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (namespace, caller) = match peer.and_then(SpiffeId::namespace_and_name) {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (claimed(CALLER_NAMESPACE, headers), claimed(CALLER, headers)),
    };
    let parties = Parties {
        caller: &caller,
        namespace: &namespace,
        callee: &server.app_id,
    };
    metadata::stamp(headers, &parties);
}

/// The head of an answer, and its body. `data`: the body of a call that is not streamed.
fn answer(reply: Reply, data: Option<Vec<u8>>) -> (wire::Response, Body) {
    let (status, origin) = match reply.outcome {
        Outcome::Http(status) => {
            let status = palladium_proto::internals::Status {
                code: status.as_u16().into(),
                ..Default::default()
            };
            (status, Origin::Http)
        }
        Outcome::Grpc(status) => (status, Origin::Grpc),
    };
    let mut content_type = reply.content_type;
    if let Some(kind) = reply.headers.get(http::header::CONTENT_TYPE)
        && content_type.is_empty()
    {
        content_type = String::from_utf8_lossy(kind.as_bytes()).into_owned();
    }
    let has_data = data.is_some() || !reply.type_url.is_empty();
    // What nobody has read yet, so that the caller can be told its length.
    let length = http_body::Body::size_hint(&reply.body).exact();
    let length = length.filter(|length| origin == Origin::Http && *length > 0);
    let head = wire::Response {
        status: Some(status),
        headers: metadata::from_answer(&reply.headers, origin, length),
        trailers: metadata::from_answer(&reply.trailers, origin, None),
        message: Some(InvokeResponse {
            data: has_data.then(|| Any {
                type_url: reply.type_url,
                value: data.unwrap_or_default(),
            }),
            content_type,
        }),
    };
    (head, reply.body)
}
