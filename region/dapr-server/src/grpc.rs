//! Dapr's gRPC API.
//!
//! One idea: one function ([`handle`]) stands before all services: token, API rules, counting; the services behind it
//! only translate. Calls of services that are not Dapr's are meant for applications and go to [`crate::invoke`]. Must never
//! let a service see a call before token and rules were checked, nor count a method of the API under a name that the caller
//! made up: labels come from `methods.rs` (those of calls that are passed on are bounded in `metrics/grpc.rs`).

mod bindings;
mod configuration;
mod conversation;
mod crypto;
mod dapr;
mod direct;
mod invoke;
mod lock;
mod message;
mod methods;
mod publish;
mod secrets;
mod state;
mod traced;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use palladium_http::{Metered, Upload};
use palladium_proto::runtime::dapr_server::DaprServer;
use prometheus::Histogram;
use tonic::{Code, Status};
use tower_service::Service as _;

use direct::Looked;
pub use message::Message;
use methods::{known, version};
use traced::Traced;

use crate::api_rules::Protocol;
use crate::auth::Refusal;
use crate::errors::{Fault, grpc_status};
use crate::http::{Body, BoxError};
use crate::invoke::{is_for_own_app, proxy, refused};
use crate::resources::ApiLogging;
use crate::server::Server;
use crate::trace::{self, Kind};

const DAPR: &str = "/dapr.proto.runtime.v1.Dapr/";

/// The methods of the API that stream their request. Room for one message, the longest that may be sent, is taken for as
/// long as the stream lives. A subscription has no pace; a document has.
const SUBSCRIBE: &str = "SubscribeTopicEventsAlpha1";
const PROCESSED: usize = 64 << 10;
const DOCUMENTS: [&str; 2] = ["EncryptAlpha1", "DecryptAlpha1"];

/// The message of any other call must come on at this pace.
const PATIENCE: Duration = Duration::from_secs(60);

/// The services of the API.
#[derive(Clone)]
pub struct Services(Arc<dapr::Api>);

impl Services {
    /// For one Dapr Server.
    pub fn new(server: &Arc<Server>) -> Self {
        Self(Arc::new(dapr::Api(server.clone())))
    }

    /// Ready for one call: connections live longer than a limit may.
    fn ready(&self, max_body: usize) -> DaprServer<dapr::Api> {
        DaprServer::from_arc(self.0.clone())
            .max_decoding_message_size(max_body)
            .max_encoding_message_size(usize::MAX)
    }
}

/// Whether a request is gRPC: what tells it from HTTP on a shared port.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Answers one call.
pub async fn handle(server: &Arc<Server>, services: &Services, mut request: Request<Upload>) -> Response<Body> {
    let start = Instant::now();
    if !is_grpc(request.headers()) {
        let mut answer = Response::new(Body::Empty);
        *answer.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return answer;
    }
    if let Err(refusal) = server.auth.check(request.headers_mut()) {
        return refused(&match refusal {
            Refusal::Missing => Status::unauthenticated("missing api token in request metadata"),
            Refusal::Wrong => Status::unauthenticated("authentication error: api token mismatch"),
        });
    }
    trace::unify(request.headers_mut());
    if let Err(bad) = trace::check_baggage(request.headers()) {
        return refused(&Status::invalid_argument(bad.to_string()));
    }
    let path = request.uri().path();
    let Some((method, group)) = path.strip_prefix(DAPR).and_then(known) else {
        if path.starts_with(DAPR) {
            return refused(&Status::unimplemented(format!("unknown method {path}")));
        }
        // A call is handed on as a whole before it begins: what is large stands apart from it.
        return Box::pin(proxied(server, request, start)).await;
    };
    let rules = server.rules.load();
    let logging = rules.api_logging;
    if !rules.api.allows(Protocol::Grpc, group, version(method)) {
        return refused(&Status::unimplemented("requested endpoint is not available"));
    }
    drop(rules);
    let traced = Traced::begin(server, |_| Kind::Client, &mut request);
    let agent = agent(logging, request.headers());
    // Until the end of the call, whatever becomes of the message.
    let held = server.budget.hold();
    let is_document = DOCUMENTS.contains(&method);
    let is_stream = method == SUBSCRIBE || is_document;
    let mut answer = if is_stream {
        let longest = if is_document { server.max_body() } else { PROCESSED };
        if held.take(longest).is_err() {
            return refused(&grpc_status(&Fault::busy().report));
        }
        let kept = held.clone();
        let request = request.map(|body| {
            let body = if is_document { body.hurried(PATIENCE) } else { body };
            let body = held.meter(body).passing();
            body.map_err(move |error| {
                // As long as the stream.
                let _ = &kept;
                unread(&error)
            })
        });
        Box::pin(by_library(services, longest, request, None)).await
    } else {
        let request = request.map(|body| held.meter(body.hurried(PATIENCE)));
        unary(server, services, method, request).await
    };
    let received = (!is_stream).then(|| held.bytes());
    drop(held);
    let code = code_of(answer.headers());
    server.metrics.grpc(method, code, received, start.elapsed());
    traced.end(&mut answer, code);
    log(logging, (DAPR, method), code, start, &agent);
    if method == "InvokeBinding" {
        return bindings::head_first(answer);
    }
    answer
}

/// A call with one message in each direction.
async fn unary(
    server: &Server,
    services: &Services,
    method: &'static str,
    request: Request<Metered<Upload>>,
) -> Response<Body> {
    let longest = server.max_body();
    let sent = server.metrics.grpc_answer(method);
    match direct::look(method, request, longest).await {
        Looked::Whole(method, request) => direct::answer(&services.0, method, request, &sent)
            .await
            .unwrap_or_else(|status| refused(&status)),
        Looked::Other(request) => {
            let request = request.map(|body| body.map_err(|error| unread(&error)));
            Box::pin(by_library(services, longest, request, Some(sent))).await
        }
    }
}

/// Answers a call by the gRPC library. `longest`: greatest message in bytes. `sent`: what counts the answer's.
async fn by_library<B>(
    services: &Services,
    longest: usize,
    request: Request<B>,
    sent: Option<Histogram>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error = Status> + Send + 'static,
{
    match services.ready(longest).call(request).await {
        Ok(answer) => answer.map(|body| Body::Grpc(Message::new(body, &services.0.0.budget, sent))),
        Err(never) => match never {},
    }
}

/// A call that is passed on as it is.
async fn proxied(server: &Arc<Server>, mut request: Request<Upload>, start: Instant) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let rules = server.rules.load_full();
    if !rules.api.allows(Protocol::Grpc, "invoke", "v1.0") {
        return refused(&Status::unimplemented("requested endpoint is not available"));
    }
    let logging = rules.api_logging;
    let agent = agent(logging, request.headers());
    let kind = |headers: &HeaderMap| match is_for_own_app(server, headers) {
        true => Kind::Server,
        false => Kind::Client,
    };
    let traced = Traced::begin(server, kind, &mut request);
    let mut answer = proxy(server, request).await.unwrap_or_else(|status| refused(&status));
    let code = code_of(answer.headers());
    server.metrics.grpc(&path, code, None, start.elapsed());
    traced.end(&mut answer, code);
    log(logging, ("", &path), code, start, &agent);
    answer
}

/// The status of an answer. A failure without a body says so in its head; others end well, or with a trailer nobody counts.
fn code_of(headers: &HeaderMap) -> Code {
    headers
        .get("grpc-status")
        .map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// What a caller calls itself, where that is logged.
fn agent(logging: ApiLogging, headers: &HeaderMap) -> String {
    let agent = headers.get(http::header::USER_AGENT).filter(|_| logging.enabled);
    agent
        .and_then(|agent| agent.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn log(logging: ApiLogging, (service, method): (&str, &str), code: Code, start: Instant, agent: &str) {
    if logging.enabled {
        let (duration, path) = (start.elapsed().as_millis(), format!("{service}{method}"));
        crate::logs::called("gRPC", &path, code as i32, duration, None, agent);
    }
}

/// Why a message could not be read.
fn unread(error: &BoxError) -> Status {
    let fault = Fault::of_body(error);
    fault.map_or_else(
        || Status::cancelled(error.to_string()),
        |fault| grpc_status(&fault.report),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::{ApiRule, Configuration};
    use crate::rules::Rules;
    use crate::testing;

    /// Neither by the API's own method nor by the metadata that make a call of any other.
    #[tokio::test]
    async fn sec_071_invocation_that_is_denied_is_not_reached_through_a_service_of_the_applications_own() {
        let server = testing::open_server();
        let services = Services::new(&server);
        let said = async |path: &str, rules: Configuration| {
            server.rules.store(Arc::new(Rules::new(&rules, false).expect("sound")));
            let request = Request::post(path)
                .header("content-type", "application/grpc")
                .header("dapr-app-id", "orders");
            let request = request.body(Upload::whole(Bytes::new())).expect("sound");
            let answer = handle(&server, &services, request).await;
            let status = Status::from_header_map(answer.headers()).expect("nothing but a status");
            (status.code(), status.message().to_owned())
        };
        let rule = |name: &str, protocol: &str| ApiRule {
            name: name.to_owned(),
            protocol: protocol.to_owned(),
            ..ApiRule::default()
        };
        let refused = (Code::Unimplemented, "requested endpoint is not available".to_owned());
        let own = "/shop.Orders/Place";
        for path in [own, "/dapr.proto.runtime.v1.Dapr/InvokeService"] {
            let denied = Configuration {
                denied: vec![rule("invoke", "")],
                ..Configuration::default()
            };
            assert_eq!(said(path, denied).await, refused, "{path}");
            let others = Configuration {
                allowed: vec![rule("state", "grpc")],
                ..Configuration::default()
            };
            assert_eq!(said(path, others).await, refused, "{path}");
        }
        let by_http = Configuration {
            denied: vec![rule("invoke", "http")],
            ..Configuration::default()
        };
        for open in [by_http, Configuration::default()] {
            let (code, words) = said(own, open).await;
            assert_eq!(
                code,
                Code::Unavailable,
                "the call is tried, and there is no application: {words}"
            );
        }
    }
}
