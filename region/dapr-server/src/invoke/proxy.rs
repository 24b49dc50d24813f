//! Calls of services that are not Dapr's: passed on byte for byte, to the own application or to a peer that does it.
//!
//! One idea: a call is its path, its metadata and two streams of bytes; nothing of the messages is looked at, and trailers
//! are the other side's own. Must never choose the target by anything but the metadata, nor let a peer use this process
//! as a way to a third one.

use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use palladium_engine_resiliency::{Cut, Failed, Failure, Policy};
use palladium_http::Upload;
use palladium_spiffe::SpiffeId;
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Status};

use super::callee::{permit, stamp};
use super::metadata::{self, APP_ID, CALLEE, Parties};
use super::method::canonical;
use super::peers::Peer;
use super::pool::{Lease, Pool, SendError};
use super::recorded::Recorded;
use crate::app_channel::{CallError, strip_request};
use crate::http::{Body, BoxError};
use crate::metrics::Kind;
use crate::server::Server;
use crate::trace;

/// Says that a call streams.
const STREAM: &str = "dapr-stream";

/// A call of the own caller.
///
/// # Errors
/// Why it was not passed on.
pub async fn from_caller(server: &Server, request: Request<Upload>) -> Result<Response<Body>, Status> {
    let target = target(request.headers())?;
    if server.invoke.is_own_app(server, &target) {
        let (path, mut headers, body) = apart(server, request)?;
        permit(server, None, &path, None, true)?;
        own_stamp(server, &server.app_id, &mut headers);
        trace::in_both_forms(&mut headers);
        return to_app(server, &path, headers, body).await;
    }
    let peer = server
        .invoke
        .peers
        .find(&target)
        .await
        .map_err(|error| Status::unknown(error.to_string()))?;
    let path = request.uri().path().to_owned();
    let (parts, body) = request.into_parts();
    let mut headers = next_hop(parts.headers);
    own_stamp(server, &peer.id, &mut headers);
    trace::in_both_forms(&mut headers);
    let streams = headers.get(STREAM).is_some_and(|value| value == "true");
    let kind = if streams { Kind::Streaming } else { Kind::Unary };
    let counted = server.metrics.invoked(&peer.id, kind);
    let answer = to_peer_as_told(server, &peer, &path, headers, body).await;
    counted.answered(match &answer {
        Ok(answer) => status_of(answer.headers()).unwrap_or_default().into(),
        Err(status) => status.code() as i32,
    });
    answer
}

/// Passes a call on, through whatever policy there is for its target.
async fn to_peer_as_told(
    server: &Server,
    peer: &Peer,
    path: &str,
    headers: HeaderMap,
    body: Upload,
) -> Result<Response<Body>, Status> {
    let resiliency = server.resiliency.now();
    let policy = if resiliency.is_plain() {
        Policy::default()
    } else {
        resiliency.app(&peer.id, &format!("{}:{path}", peer.id))
    };
    if policy.is_empty() {
        return to_peer(server, peer, path, headers, passing(server, body)).await;
    }
    to_peer_policed(server, peer, path, headers, body, policy).await
}

/// What came of one attempt at a peer that was no success.
enum Unwell {
    /// A whole answer: nothing but a status.
    Answer(Box<Response<Body>>, u16),
    Status(Status),
}

impl Failure for Unwell {
    fn status_code(&self) -> Option<u16> {
        match self {
            Self::Answer(_, code) => Some(*code),
            Self::Status(status) => u16::try_from(status.code() as i32).ok(),
        }
    }
}

/// Passes a call on as a policy says. It is sent once more only when all of it was sent, it was short, and the answer was
/// nothing but a status, whether that stands in its head or behind an empty body.
async fn to_peer_policed(
    server: &Server,
    peer: &Peer,
    path: &str,
    headers: HeaderMap,
    body: Upload,
    policy: Policy,
) -> Result<Response<Body>, Status> {
    let body = server.budget.hold().meter(body).passing();
    let (recorded, record) = Recorded::new(body, &server.budget);
    let mut first = Some(Body::Recorded(Box::new(recorded)));
    let outcome = policy.run(|_| {
        let body = first.take().or_else(|| record.whole().map(Body::from));
        let headers = headers.clone();
        Box::pin(async {
            let Some(body) = body else {
                return Err(Unwell::Status(Status::unavailable("the request cannot be sent again")));
            };
            let answer = to_peer(server, peer, path, headers, body).await;
            let mut answer = answer.map_err(Unwell::Status)?;
            let mut code = status_of(answer.headers());
            if code.is_none() && record.whole().is_some() {
                let (begun, behind) = begun(answer).await.map_err(Unwell::Status)?;
                (answer, code) = (begun, behind);
            }
            match code {
                Some(code) if code != Code::Ok as u16 => Err(Unwell::Answer(Box::new(answer), code)),
                _ => Ok(answer),
            }
        })
    });
    match outcome.await {
        Ok(answer) => Ok(answer),
        Err(Failed::Operation(Unwell::Answer(answer, _))) => Ok(*answer),
        Err(Failed::Operation(Unwell::Status(status))) => Err(status),
        Err(Failed::Cut(cut)) => Err(match cut {
            Cut::Deadline => Status::deadline_exceeded(cut.to_string()),
            Cut::Open | Cut::TooMany => Status::unavailable(cut.to_string()),
        }),
    }
}

/// An answer once more is known than its head, and the status behind its body if there is no body. Only for callers who
/// have said all: others may wait for the head before they go on.
async fn begun(answer: Response<Body>) -> Result<(Response<Body>, Option<u16>), Status> {
    let (parts, mut body) = answer.into_parts();
    let lost = |error: BoxError| Status::unavailable(error.to_string());
    let first = body.frame().await.transpose().map_err(lost)?;
    let (body, code) = match first.map(Frame::into_data) {
        Some(Ok(first)) => (Body::Begun(Some(first), Box::new(body)), None),
        Some(Err(last)) => {
            let trailers = last.into_trailers().unwrap_or_default();
            let code = status_of(&trailers);
            (Body::Message(None, Some(trailers)), code)
        }
        None => (Body::Empty, None),
    };
    Ok((Response::from_parts(parts, body), code))
}

/// The code of an answer that is nothing but a status, known or not.
fn status_of(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// A call that a peer passes on.
///
/// # Errors
/// Why it was not passed on.
pub async fn from_peer(
    server: &Server,
    peer: Option<&SpiffeId>,
    request: Request<Upload>,
) -> Result<Response<Body>, Status> {
    let target = target(request.headers())?;
    if !server.invoke.is_own_app(server, &target) {
        return Err(Status::permission_denied("this is another App ID's Dapr Server"));
    }
    let (path, mut headers, body) = apart(server, request)?;
    permit(server, peer, &path, None, true)?;
    stamp(server, peer, &mut headers);
    trace::unify(&mut headers);
    let tracer = server.tracing.now();
    let mut span = tracer.map(|tracer| tracer.enter(path.clone(), trace::Kind::Server, &mut headers));
    trace::in_both_forms(&mut headers);
    let answer = to_app(server, &path, headers, body).await;
    if let (Some(span), Err(status)) = (&mut span, &answer) {
        span.failed(status.message());
    }
    answer
}

/// Whether a call is meant for the own application.
pub fn is_for_own_app(server: &Server, headers: &HeaderMap) -> bool {
    target(headers).is_ok_and(|target| server.invoke.is_own_app(server, &target))
}

/// The target that the metadata name.
fn target(headers: &HeaderMap) -> Result<String, Status> {
    let named = headers.get(CALLEE).or_else(|| headers.get(APP_ID));
    let named = named.and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty());
    named.map(str::to_owned).ok_or_else(|| {
        Status::unknown(format!(
            "failed to proxy request: required metadata {CALLEE} or {APP_ID} not found"
        ))
    })
}

/// The canonical path, the metadata for an application, and the body.
fn apart(server: &Server, request: Request<Upload>) -> Result<(String, HeaderMap, Body), Status> {
    let path = canonical(request.uri().path())
        .map_err(|error| Status::invalid_argument(error.to_string()))?
        .into_owned();
    let (parts, body) = request.into_parts();
    let mut headers = next_hop(parts.headers);
    // The original marks what it passes on by a kind of its own.
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_none_or(|kind| kind == b"application/grpc+proxy") {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    }
    Ok((path, headers, passing(server, body)))
}

/// Metadata without what was said for one connection or for a Dapr Server alone. A caller may come by HTTP/1.1, whose
/// headers about its connection HTTP/2 does not take.
fn next_hop(mut headers: HeaderMap) -> HeaderMap {
    strip_request(&mut headers);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers
}

/// A body that passes through: it counts as long as it is on its way.
fn passing(server: &Server, body: Upload) -> Body {
    Body::Upload(server.budget.hold().meter(body).passing())
}

fn own_stamp(server: &Server, callee: &str, headers: &mut HeaderMap) {
    let parties = Parties {
        caller: &server.app_id,
        namespace: server.namespace(),
        callee,
    };
    metadata::stamp(headers, &parties);
}

async fn to_app(server: &Server, path: &str, headers: HeaderMap, body: Body) -> Result<Response<Body>, Status> {
    let not_grpc = || Status::unavailable("the application does not speak gRPC");
    let app = server.app.load_full().ok_or_else(not_grpc)?;
    let grpc = app.grpc().ok_or_else(not_grpc)?;
    let permit = app.permit().await.map_err(Status::from)?;
    match grpc.proxy(path, headers, body).await {
        Ok((answer, lease)) => Ok(passed_on(answer, lease, permit)),
        Err(CallError::Transport(reason)) => Err(Status::unavailable(reason)),
        Err(error) => Err(error.into()),
    }
}

async fn to_peer(
    server: &Server,
    peer: &Peer,
    path: &str,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, Status> {
    let unreachable = || Status::unavailable("the peer has no address");
    let mut pool = peer.pool().ok_or_else(unreachable)?;
    let mut request = request(&pool, path, headers, body);
    let mut again = true;
    loop {
        match pool.send(request).await {
            Ok((answer, lease)) => return Ok(passed_on(answer, lease, None)),
            // Nothing of it was sent.
            Err(SendError::Connect(error, unsent)) => {
                if !again {
                    return Err(Status::unavailable(error.to_string()));
                }
                again = false;
                server.invoke.peers.failed(peer, pool.address());
                let found = server.invoke.peers.find(&peer.id).await;
                pool = found
                    .ok()
                    .and_then(|peer| peer.pool())
                    .ok_or_else(|| Status::unavailable(error.to_string()))?;
                request = *unsent;
                *request.uri_mut() = pool.uri(path);
            }
            Err(SendError::Lost(error)) => return Err(Status::unavailable(error.to_string())),
            Err(SendError::Body(error)) => return Err(error.into()),
        }
    }
}

fn request(pool: &Pool, path: &str, headers: HeaderMap, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = pool.uri(path);
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    request
}

/// `permit`: the call's place at the application, until its answer has ended.
fn passed_on(answer: Response<Incoming>, lease: Lease, permit: Option<OwnedSemaphorePermit>) -> Response<Body> {
    answer.map(|body| Body::Leased(body, lease, permit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_by_http_1_says_of_its_connection_ends_here() {
        let given = [
            ("connection", "keep-alive, x-mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers, deflate"),
            ("host", "a"),
            (APP_ID, "orders"),
            ("dapr-api-token", "t"),
            ("grpc-timeout", "1S"),
            ("x-bin", "AA"),
        ];
        let given = given.map(|(name, value)| {
            (
                name.parse::<http::HeaderName>().expect("a name"),
                HeaderValue::from_static(value),
            )
        });
        let headers = next_hop(HeaderMap::from_iter(given));
        let mut names: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["grpc-timeout", "te", "x-bin"]);
        assert_eq!(headers[TE], "trailers");
    }

    #[tokio::test]
    async fn a_status_behind_an_empty_body_is_seen_and_a_begun_answer_loses_nothing() {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from_static("1"))]);
        let only = Response::new(Body::Message(None, Some(trailers.clone())));
        let (answer, code) = begun(only).await.expect("begun");
        assert_eq!(code, Some(1));
        let left = answer.into_body().collect().await.expect("whole");
        assert_eq!(left.trailers(), Some(&trailers));

        let full = Response::new(Body::Message(Some("message".into()), Some(trailers.clone())));
        let (answer, code) = begun(full).await.expect("begun");
        assert_eq!(code, None, "what has begun is not done again");
        let whole = answer.into_body().collect().await.expect("whole");
        assert_eq!(whole.trailers(), Some(&trailers));
        assert_eq!(whole.to_bytes(), "message");
    }
}
