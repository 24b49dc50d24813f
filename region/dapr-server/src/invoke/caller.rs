//! Calls of a peer's application: `ServiceInvocation.CallLocalStream`, and `CallLocal` where a peer is older than that.
//!
//! One idea: one stream for each call; the answer is there as soon as its head is, and its body comes as it comes. Must
//! never send a request again whose body is gone, nor answer with less than the peer sent as if it were all.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TE};
use http::{HeaderMap, Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use palladium_http::Budget;
use palladium_proto::common::InvokeRequest;
use palladium_proto::common::http_extension::Verb;
use palladium_proto::prost_types::Any;
use prost::Message as _;
use tonic::{Code, Status};

use super::chunks::Chunks;
use super::local::Call;
use super::metadata::{self, FromPeer};
use super::payload::{Messages, Payloads};
use super::pool::{Lease, Pool, SendError};
use super::reply::{Outcome, Reply};
use super::seen::say_beside;
use super::wire::{self, StreamedResponse};
use crate::app_channel::CallError;
use crate::http::Body;

/// Messages may be this much longer than a body: they carry headers, too.
pub const HEAD_ROOM: usize = 1 << 20;

/// A failed try.
pub struct Failed {
    /// Why.
    pub status: Status,
    /// The body, if it was not touched.
    pub body: Option<Body>,
    /// The own caller's fault: what became of its body.
    pub broken: Option<CallError>,
}

impl Failed {
    fn new(status: Status, body: Option<Body>) -> Self {
        let broken = None;
        Self { status, body, broken }
    }
}

/// Calls the application behind `pool`, which is the App ID `destination`. `call` loses its body. `limit`: greatest
/// message of the answer. `length`: of the body, if known. What is held of the answer counts against `budget`.
///
/// # Errors
/// See [`Failed`].
pub async fn call(
    pool: &Pool,
    destination: &str,
    call: &mut Call,
    length: Option<u64>,
    limit: usize,
    budget: &Budget,
) -> Result<Reply, Failed> {
    let body = std::mem::replace(&mut call.body, Body::Empty);
    let copy = body.copy();
    let head = wire::Request {
        version: wire::V1,
        metadata: metadata::to_peer(&call.headers, call.origin, length, destination),
        message: Some(InvokeRequest {
            method: call.method.clone(),
            data: (!call.type_url.is_empty()).then(|| Any {
                type_url: call.type_url.clone(),
                value: Vec::new(),
            }),
            content_type: call.content_type.clone(),
            http_extension: call.http.clone(),
        }),
    };
    let chunks = Chunks::request(wire::head_field(&head), body);
    let mut request = request(pool, "CallLocalStream", Body::Chunks(Box::new(chunks)));
    say_beside(&call.headers, request.headers_mut());
    let failed = Failed::new;
    let (answer, lease) = match pool.send(request).await {
        Ok(answered) => answered,
        Err(SendError::Connect(error, request)) => {
            let body = match request.into_body() {
                Body::Chunks(chunks) => chunks.into_source(),
                _ => None,
            };
            return Err(failed(unavailable(&error), body.or(copy)));
        }
        Err(SendError::Lost(error)) => return Err(failed(unavailable(&error), copy)),
        Err(SendError::Body(error)) => {
            return Err(Failed {
                status: Status::cancelled(error.to_string()),
                body: None,
                broken: Some(error),
            });
        }
    };
    let verb = call.http.as_ref().map_or(Verb::None, |http| http.verb());
    match read(answer, lease, verb != Verb::Head, limit, budget).await {
        Ok(reply) => Ok(reply),
        Err(status) if status.code() == Code::Unimplemented => match copy {
            Some(copy) => Box::pin(unary(pool, head, copy, limit, budget)).await,
            None => {
                let words = format!(
                    "target app '{destination}' is running a version of Dapr that does not support streaming-based \
                     service invocation"
                );
                Err(failed(Status::new(Code::Unknown, words), None))
            }
        },
        Err(status) => Err(failed(status, copy)),
    }
}

async fn unary(
    pool: &Pool,
    mut head: wire::Request,
    body: Body,
    limit: usize,
    budget: &Budget,
) -> Result<Reply, Failed> {
    let lost = |status| Failed::new(status, None);
    if let (Body::Full(Some(data)), Some(message)) = (body, &mut head.message) {
        message.data.get_or_insert_default().value = data.into();
    }
    let framed = budget.tie(wire::framed(&head));
    let framed = framed.map_err(|error| lost(Status::resource_exhausted(error.to_string())))?;
    let request = request(pool, "CallLocal", Body::from(framed));
    let (answer, _lease) = pool.send(request).await.map_err(|error| lost(unavailable(&error)))?;
    let body = accepted(answer).map_err(lost)?;
    let mut messages = Messages::new(body, limit, budget);
    let response = messages.only::<wire::Response>().await;
    let status = messages.status();
    match response {
        Ok(Some(response)) if status.code() == Code::Ok => {
            let data = response.message.as_ref().and_then(|message| message.data.clone());
            let data = data.unwrap_or_default().value;
            let (mut reply, _) = reply(response).map_err(lost)?;
            if !data.is_empty() {
                reply.body = Body::from(data);
            }
            Ok(reply)
        }
        Ok(_) => Err(lost(status)),
        Err(error) => Err(lost(Status::internal(error.to_string()))),
    }
}

fn request(pool: &Pool, method: &str, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = pool.uri(&format!("{}{method}", wire::SERVICE));
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    request
}

fn unavailable(error: &dyn std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

/// The body of an answer that is one.
fn accepted(answer: http::Response<Incoming>) -> Result<Incoming, Status> {
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return Err(status);
    }
    match answer.status() {
        StatusCode::OK => Ok(answer.into_body()),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => {
            Err(Status::unavailable("unexpected HTTP status code from the peer"))
        }
        other => Err(Status::unknown(format!(
            "unexpected HTTP status code {other} from the peer"
        ))),
    }
}

/// `has_body`: whether an answer has the body that its length speaks of.
async fn read(
    answer: http::Response<Incoming>,
    lease: Lease,
    has_body: bool,
    limit: usize,
    budget: &Budget,
) -> Result<Reply, Status> {
    let mut messages = Messages::new(accepted(answer)?, limit, budget);
    let Some(first) = messages
        .next()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?
    else {
        let status = messages.status();
        return Err(if status.code() == Code::Ok {
            Status::internal("the peer answered nothing")
        } else {
            status
        });
    };
    let broken = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
    let mut first = StreamedResponse::decode(first).map_err(|error| broken(&error))?;
    let head = first
        .head
        .take()
        .filter(|head| head.status.is_some())
        .ok_or_else(|| Status::unknown("response does not contain the required fields in the leading chunk"))?;
    let mut payloads = Payloads::new(messages, first, None, Some(lease)).map_err(|error| broken(&error))?;
    let (mut reply, length) = reply(head)?;
    let whole = payloads.whole(length.filter(|_| has_body)).await;
    reply.body = match whole.map_err(|error| broken(&error))? {
        Some(whole) if whole.is_empty() => Body::Empty,
        Some(whole) => Body::from(whole),
        None => Body::FromPeer(Box::new(payloads)),
    };
    Ok(reply)
}

/// The head of an answer, and the length of its body if the peer says it.
fn reply(response: wire::Response) -> Result<(Reply, Option<u64>), Status> {
    let status = response
        .status
        .ok_or_else(|| Status::unknown("response does not contain the required fields"))?;
    let message = response.message.unwrap_or_default();
    let outcome = match u16::try_from(status.code) {
        Ok(code) if code >= 100 => {
            Outcome::Http(StatusCode::from_u16(code).map_err(|_| Status::internal("the peer's status is none"))?)
        }
        _ => Outcome::Grpc(status),
    };
    let FromPeer { mut headers, length } = metadata::from_peer(response.headers);
    // Of the body as the application sent it: to a caller by gRPC it stands in a message.
    headers.remove(CONTENT_LENGTH);
    let reply = Reply {
        outcome,
        headers,
        trailers: if response.trailers.is_empty() {
            HeaderMap::new()
        } else {
            metadata::from_peer(response.trailers).headers
        },
        content_type: message.content_type,
        type_url: message.data.map(|data| data.type_url).unwrap_or_default(),
        body: Body::Empty,
    };
    Ok((reply, length))
}

#[cfg(test)]
mod tests {
    use palladium_proto::internals;

    use super::*;
    use crate::invoke::Origin;

    #[test]
    fn the_length_of_a_body_is_told_and_stands_among_no_headers() {
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-a"), HeaderValue::from_static("1"))]);
        let response = wire::Response {
            status: Some(internals::Status {
                code: 200,
                ..Default::default()
            }),
            headers: metadata::from_answer(&headers, Origin::Http, Some(7)),
            ..Default::default()
        };
        let (reply, length) = reply(response).expect("a head");
        assert_eq!((reply.headers, length), (headers, Some(7)));
    }
}
