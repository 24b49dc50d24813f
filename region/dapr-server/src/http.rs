//! Dapr's HTTP API: from a request to an answer, without a framework.
//!
//! One idea: a request is matched once, by one readable table ([`route`]), into a [`Route`]; token, browser rules, API
//! rules, counting and logging stand around it in one function ([`handle`]). Building blocks are one file each. Must never
//! parse a body unless the API has to look inside.

mod bindings;
mod body;
mod configuration;
mod conversation;
mod crypto;
mod health;
mod invoke;
mod lock;
mod metadata;
mod publish;
mod query;
mod route;
mod secrets;
mod state;
mod state_wire;
mod target;
mod traced;
mod upgrade;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use palladium_http::{Held, Upload};

pub use body::{Body, BoxError, Incoming};
pub(crate) use body::{joined, read};
use route::Route;
pub use upgrade::H2cListener;

use crate::api_rules::Protocol;
use crate::auth::Refusal;
use crate::cors::Cors;
use crate::errors::Fault;
use crate::invoke::without_dots;
use crate::pipeline::{self, Slot, Stopped};
use crate::server::Server;
use crate::trace::About;
use traced::{Logged, Traced};

/// Which routes a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// All of them.
    Api,
    /// Health and metadata, without a token: the public port.
    Public,
}

/// What a handler gives: an answer, or a fault that becomes one.
type Answer = Result<Response<Body>, Fault>;

/// A request without its body: what handlers look at.
struct Head {
    method: Method,
    headers: HeaderMap,
    /// The query, as it came, without the question mark.
    query: Option<String>,
    /// The path as it came.
    path: String,
    /// Where to say what the call is about; `None` = nobody wants to know.
    about: Option<About>,
}

const NOT_FOUND: &str = "404 page not found";

/// Answers one request.
pub async fn handle(server: &Arc<Server>, surface: Surface, request: Request<Upload>) -> Response<Body> {
    let start = Instant::now();
    let (mut parts, body) = request.into_parts();
    // Until the end of the call, whatever becomes of the body.
    let held = server.budget.hold();
    let method = parts.method.clone();
    let mut cors = None;
    if surface == Surface::Api
        && let Some(rules) = &server.cors
    {
        if Cors::is_preflight(&parts.method, &parts.headers) {
            let mut answer = Response::new(Body::Empty);
            *answer.headers_mut() = rules.preflight(&parts.headers);
            return answer;
        }
        cors = Some((rules, parts.headers.clone()));
    }

    let uri = std::mem::take(&mut parts.uri);
    let path = without_dots(uri.path());
    let route = route::route(&method, &path);
    let counted = server.metrics.http(&path);
    let asked_bytes = length(&parts.headers);
    let mut answer = if let Err(refusal) = authorize(server, surface, &route, &mut parts.headers) {
        unauthorized(refusal)
    } else if let Some(list) = pipeline_of(server, surface) {
        drop(path);
        parts.uri = uri;
        // A call is handed on as a whole before it begins: what is large stands apart from it.
        Box::pin(behind(server, &list, parts, body, &held, start)).await
    } else {
        respond(server, surface, route, &uri, parts, held.meter(body), start).await
    };
    if let Some((rules, asked)) = cors {
        rules.decorate(&asked, answer.headers_mut());
    }
    let answered_bytes = answer.body().size_hint().exact();
    counted.answered(
        &method,
        answer.status().as_u16(),
        start.elapsed(),
        (asked_bytes, answered_bytes),
    );
    answer
}

/// The length that a request says its body has.
fn length(headers: &HeaderMap) -> u64 {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or_default()
}

/// What stands before a listener.
fn pipeline_of(server: &Server, surface: Surface) -> Option<Arc<[Slot]>> {
    match surface {
        Surface::Api => server.rules.load().pipelines.api(),
        Surface::Public => None,
    }
}

/// Answers a request that a pipeline stands before.
async fn behind(
    server: &Arc<Server>,
    list: &[Slot],
    mut parts: Parts,
    body: Upload,
    held: &Held,
    start: Instant,
) -> Response<Body> {
    // Only until it is rewritten: what comes of it is counted when it is read.
    let before = server.budget.hold();
    let mut body = Some(body);
    let reading = async {
        let body = body.take().unwrap_or_else(|| Upload::whole(Bytes::new()));
        read(before.meter(body), server.max_body()).await
    };
    let mut passed = match pipeline::pass(server, list, &mut parts, reading).await {
        Ok(passed) => passed,
        Err(Stopped::Answer(answer)) => {
            drop(before);
            // A piece may have much to say.
            let answer = counted(server, answer.map(Body::from));
            return answer.unwrap_or_else(|fault| {
                server.metrics.fault(&fault);
                failed(&fault)
            });
        }
        Err(Stopped::Body(fault, mut passed)) => {
            server.metrics.fault(&fault);
            let failed = failed(&fault);
            drop(passed.ending(failed.status()));
            return failed;
        }
    };
    let whole = passed.body().map(Upload::whole);
    let body = whole.or(body).unwrap_or_else(|| Upload::whole(Bytes::new()));
    drop(before);
    // A piece may have named another path.
    let uri = std::mem::take(&mut parts.uri);
    let path = without_dots(uri.path());
    let method = parts.method.clone();
    let route = route::route(&method, &path);
    let body = held.meter(body);
    let answer = respond(server, Surface::Api, route, &uri, parts, body, start).await;
    let answer = passed.revised(server, answer).await;
    passed.answered(answer)
}

/// Answers a request that may be answered.
async fn respond(
    server: &Arc<Server>,
    surface: Surface,
    route: Route<'_>,
    uri: &Uri,
    mut parts: Parts,
    body: Incoming,
    start: Instant,
) -> Response<Body> {
    let group = route.group();
    let rules = server.rules.load();
    let allowed = match surface {
        Surface::Api => rules.api.allows(Protocol::Http, group.name, group.version),
        Surface::Public => matches!(group.name, "healthz" | "metadata"),
    };
    let logging = rules.api_logging;
    let name = group.name;
    // What is denied falls back to a call by header, as with the original; a call it stays, and may be denied itself.
    let route = if allowed { route } else { Route::Fallback };
    if surface == Surface::Api
        && matches!(route, Route::Invoke | Route::Fallback)
        && !rules.api.allows(Protocol::Http, "invoke", "v1.0")
    {
        return text(StatusCode::NOT_FOUND, NOT_FOUND);
    }
    drop(rules);
    let traced = match Traced::begin(server, &route, uri.path(), &mut parts) {
        Ok(traced) => traced,
        Err(bad) => return text(StatusCode::BAD_REQUEST, &bad.to_string()),
    };
    let logged = Logged::new(logging, &route, &parts.method, uri.path(), &parts.headers);
    let head = Head {
        query: uri.query().map(str::to_owned),
        path: if route.is_fast() {
            String::new()
        } else {
            uri.path().to_owned()
        },
        headers: parts.headers,
        method: parts.method,
        about: traced.about(),
    };
    // Apart, as above.
    let answer = Box::pin(dispatch(server, surface, route, head, body))
        .await
        .and_then(|answer| counted(server, answer));
    let mut answer = answer.unwrap_or_else(|fault| {
        tracing::debug!("{name}: {}", fault.report.message);
        server.metrics.fault(&fault);
        failed(&fault)
    });
    traced.end(&mut answer);
    if let Some(logged) = logged {
        logged.write(&answer, start.elapsed());
    }
    answer
}

async fn dispatch(server: &Arc<Server>, surface: Surface, route: Route<'_>, head: Head, body: Incoming) -> Answer {
    match route {
        Route::StateGet { store, key } => state::get(server, &head, store, key).await,
        Route::StateSave { store } => state::save(server, &head, store, body).await,
        Route::StateDelete { store, key } => state::delete(server, &head, store, key).await,
        Route::StateBulkGet { store } => state::bulk_get(server, &head, store, body).await,
        Route::StateTransaction { store } => state::transaction(server, &head, store, body).await,
        Route::StateQuery { store } => state::query(server, &head, store, body).await,
        Route::Publish { pubsub, topic } => publish::single(server, head, pubsub, topic, body).await,
        Route::BulkPublish { pubsub, topic, .. } => publish::bulk(server, head, pubsub, topic, body).await,
        Route::SecretGet { store, name } => secrets::get(server, &head, &store, &name).await,
        Route::SecretGetAll { store } => secrets::get_all(server, &head, &store).await,
        Route::Binding { name } => bindings::invoke(server, &head, &name, body).await,
        Route::Converse { name, version } => conversation::converse(server, &name, version, body).await,
        Route::ConfigurationGet { store, .. } => configuration::get(server, &head, &store).await,
        Route::ConfigurationSubscribe { store, .. } => configuration::subscribe(server, &head, &store).await,
        Route::ConfigurationUnsubscribe { store, id, .. } => configuration::unsubscribe(server, &store, &id),
        Route::Lock { store } => lock::try_lock(server, &store, body).await,
        Route::Unlock { store } => lock::unlock(server, &store, body).await,
        Route::Encrypt { name } => crypto::encrypt(server, &head, &name, body).await,
        Route::Decrypt { name } => crypto::decrypt(server, &head, &name, body).await,
        Route::MetadataGet => Ok(metadata::get(server)),
        Route::MetadataPut { key } => metadata::put(server, key, body).await,
        Route::Health => health::ready(server, &head),
        Route::HealthOutbound => health::outbound(server),
        Route::Shutdown => health::shutdown(server, &head),
        Route::Malformed(reason) => Ok(text(StatusCode::BAD_REQUEST, reason)),
        Route::Unavailable { .. } => Err(unavailable()),
        Route::Invoke | Route::Fallback if surface == Surface::Api => invoke::call(server, head, body).await,
        Route::Invoke | Route::Fallback => Ok(text(StatusCode::NOT_FOUND, NOT_FOUND)),
    }
}

fn authorize(server: &Server, surface: Surface, route: &Route<'_>, headers: &mut HeaderMap) -> Result<(), Refusal> {
    // Probes have no token. Behind the gateway nobody probes, so there is no exception.
    let exempt = matches!(route, Route::Health | Route::HealthOutbound) && !server.hosted;
    match server.auth.check(headers) {
        Err(_) if exempt || surface == Surface::Public => Ok(()),
        other => other,
    }
}

fn unauthorized(refusal: Refusal) -> Response<Body> {
    tracing::debug!(?refusal, "request without an accepted token");
    text(StatusCode::UNAUTHORIZED, "invalid api token")
}

fn unavailable() -> Fault {
    Fault::plain(
        501,
        tonic::Code::Unimplemented,
        "ERR_API_UNIMPLEMENTED",
        "common",
        "this API is currently not implemented",
    )
}

fn text(status: StatusCode, words: &str) -> Response<Body> {
    let mut answer = Response::new(Body::from(format!("{words}\n")));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn json(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn empty() -> Response<Body> {
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// The answer that tells of a fault.
pub(crate) fn failed(fault: &Fault) -> Response<Body> {
    let mut answer = json(fault.status(), fault.body());
    if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// An answer that is held whole counts until the caller has taken it.
fn counted(server: &Server, answer: Response<Body>) -> Answer {
    let (parts, body) = answer.into_parts();
    let body = match body {
        Body::Full(Some(bytes)) => server.budget.tie(bytes).map_err(|_| Fault::busy())?.into(),
        other => other,
    };
    Ok(Response::from_parts(parts, body))
}
