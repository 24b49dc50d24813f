//! From HTTP to a handler and back: limits, recognition, the record of what was refused, the headers of every answer.
//!
//! The one idea: all of it happens here, once, for every route; a handler sees neither headers nor raw bytes.
//!
//! Must never log a body, a query or a key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Query, RawPathParams, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use axum::{Json, Router};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use palladium_audit::{Outcome, Record};
use palladium_kinds::{Action, ids};
use serde_json::Value;

use super::failure::Failure;
use super::route::{Access, Answer, ProtectedHandler, Route};
use super::routes::routes;
use super::stages::{App, Authenticated, RequestParts, Source};
use super::unique_keys;

/// The whole API as a service.
pub fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let (path, filter) = (route.path().to_owned(), filter(route.method()));
        let route = Arc::new(route);
        let handler = move |State(app): State<Arc<App>>,
                            params: Result<RawPathParams, RawPathParamsRejection>,
                            request| { serve(app, route.clone(), params, request) };
        router = router.route(&path, on(filter, handler));
    }
    router
        .fallback(|| async {
            failed(Failure::new(
                StatusCode::NOT_FOUND,
                "there is no such path; see /openapi.json",
            ))
        })
        .method_not_allowed_fallback(|| async {
            failed(Failure::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path has other methods; see /openapi.json",
            ))
        })
        .with_state(app)
}

fn filter(method: &Method) -> MethodFilter {
    match *method {
        Method::POST => MethodFilter::POST,
        Method::PUT => MethodFilter::PUT,
        Method::PATCH => MethodFilter::PATCH,
        Method::DELETE => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    }
}

async fn serve(
    app: Arc<App>,
    route: Arc<Route>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request<Body>,
) -> Response {
    let (began, request_id) = (Instant::now(), ids::new_uid());
    let deadline = Duration::from_millis(app.limits().request_ms);
    let answer = tokio::time::timeout(deadline, handle(app.clone(), &route, params, request, &request_id)).await;
    let mut response = match answer {
        Ok(Ok(answer)) => (answer.status, Json(answer.body)).into_response(),
        Ok(Err(failure)) => failed(failure),
        Err(_) => failed(Failure::unavailable(
            "the request took too long; read the object to see what became of it",
        )),
    };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert("x-request-id", value);
    }
    // Answers hold tokens at times; no cache may keep any of them.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let logged = match response.status() {
        // Strangers must not be able to fill the log.
        StatusCode::UNAUTHORIZED => app.log_stranger(),
        _ => Some(0),
    };
    if let Some(left_out) = logged {
        tracing::info!(
            method = %route.method(),
            route = route.path(),
            status = response.status().as_u16(),
            elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            request_id,
            left_out = (left_out > 0).then_some(left_out),
            "request"
        );
    }
    response
}

async fn handle(
    app: Arc<App>,
    route: &Route,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request<Body>,
    request_id: &str,
) -> Result<Answer, Failure> {
    match route.access() {
        Access::Public { handler, .. } => handler(app).await,
        Access::Protected { action, handler } => {
            protected(app, route, action, handler, params, request, request_id).await
        }
    }
}

async fn protected(
    app: Arc<App>,
    route: &Route,
    action: &'static Action,
    handler: ProtectedHandler,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request<Body>,
    request_id: &str,
) -> Result<Answer, Failure> {
    let (head, body) = request.into_parts();
    let source = source(&head, request_id);
    let limit = app.limits().body_bytes;
    let read = || async { request_parts(&head, params, body, limit).await };
    let (call, record) = match Authenticated::recognize(&app, route, action, &head.headers, source, read).await {
        Ok(call) => {
            let record = call.record().clone();
            (call, record)
        }
        Err((failure, record)) => {
            if let Some(record) = record {
                record_failure(&app, route, &record, &failure).await;
            }
            return Err(failure);
        }
    };
    let outcome = handler(app.clone(), call).await;
    if let Err(failure) = &outcome {
        record_failure(&app, route, &record, failure).await;
    }
    outcome
}

/// Refusals are always recorded, failures of what would have changed something too.
async fn record_failure(app: &App, route: &Route, record: &Record, failure: &Failure) {
    if !failure.refused && !route.is_mutating() {
        return;
    }
    let outcome = if failure.refused {
        Outcome::Refused
    } else {
        Outcome::Failed
    };
    let recorded = app
        .record_end(record, outcome, failure.status.as_u16(), &failure.reason())
        .await;
    if let Err(error) = recorded {
        // Nothing was done and nothing is told, so the request may end; but not silently.
        tracing::error!(%error, action = record.action, "a refusal could not be recorded");
    }
}

fn source(head: &Parts, request_id: &str) -> Source {
    let connection = head.extensions.get::<Arc<palladium_http::Connection>>();
    let ip = connection
        .and_then(|connection| connection.remote)
        .map(|remote| remote.ip().to_string())
        .unwrap_or_default();
    let agent = head
        .headers
        .get(header::USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Source {
        ip,
        user_agent: agent.unwrap_or_default(),
        request_id: request_id.to_owned(),
    }
}

async fn request_parts(
    head: &Parts,
    params: Result<RawPathParams, RawPathParamsRejection>,
    body: Body,
    limit: usize,
) -> Result<RequestParts, Failure> {
    let params = params.map_err(|_| Failure::bad_request("the path is not valid UTF-8"))?;
    let params = params
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let Query(query) = Query::<BTreeMap<String, String>>::try_from_uri(&head.uri)
        .map_err(|_| Failure::bad_request("the query string is malformed"))?;
    if head.method == Method::GET {
        return Ok(RequestParts {
            params,
            query,
            body: None,
        });
    }
    let bytes = match Limited::new(body, limit).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body has more than {limit} bytes"),
            ));
        }
        Err(_) => return Err(Failure::bad_request("the body ended early")),
    };
    let body = if bytes.is_empty() {
        None
    } else {
        Some(json_body(&head.headers, &bytes)?)
    };
    Ok(RequestParts { params, query, body })
}

fn json_body(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, Failure> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or("?").to_ascii_lowercase());
    let media = kind
        .as_deref()
        .unwrap_or("application/json")
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    if !matches!(media.as_str(), "application/json" | "application/merge-patch+json") {
        return Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send application/json or application/merge-patch+json",
        ));
    }
    unique_keys::parse(bytes).map_err(|error| {
        let wrong = if error.is_data() {
            "the body gives a field twice; give it once"
        } else {
            "the body is not JSON"
        };
        // Only the place: the text may hold a secret.
        Failure::bad_request(format!("{wrong} (line {}, column {})", error.line(), error.column()))
    })
}

fn failed(failure: Failure) -> Response {
    let mut response = (failure.status, Json(failure.body)).into_response();
    if failure.status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
