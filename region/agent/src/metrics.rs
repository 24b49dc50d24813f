//! The region's metrics for Prometheus: whom it can read, and what each App ID's Dapr Server says.
//!
//! The one idea: the agent only leads there. Dapr Servers count, each tells its own to the agent over mutual TLS, and this one
//! listener passes it on under the App ID's name. It is plaintext, so it is on loopback alone; tenants get there too, through
//! their own Dapr Servers, so it tells nothing to whoever has no token. Must never make a path or an address of what a request
//! says (project and App ID are looked up among those that are there), nor keep the agent from anything else.

pub(crate) mod ask;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use palladium_http::{Limits, Server, Upload};
use palladium_sealing::{constant_time_eq, token_digest};
use palladium_tasks::Shutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::config::MetricsConfig;
use crate::region::Region;
use crate::run::blocking;
use crate::{Error, joined, views};

use ask::{Dial, Questions};

/// Open connections; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 16;
const DRAIN: Duration = Duration::from_millis(200);
/// How often a port that is taken is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// Before `<project id>/<app id>`. Neither holds a character that a path would have to escape.
const PREFIX: &str = "/metrics/";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Prometheus reads nothing that does not say what it is.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const WORDS: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

type Answer = Response<Full<Bytes>>;

/// Where Prometheus asks.
pub(crate) struct Endpoint {
    listen: SocketAddr,
    /// SHA-256 of what whoever asks must show.
    token: [u8; 32],
    pub(crate) questions: Questions,
    pub(crate) again: Duration,
}

impl Endpoint {
    /// Nothing is opened yet.
    ///
    /// # Errors
    /// When the address is not on loopback, or the digest is none.
    pub(crate) fn new(config: &MetricsConfig, dial: Dial) -> Result<Self, Error> {
        if !config.listen.ip().is_loopback() {
            let reason = "metrics.listen: must be a loopback address, it is plaintext";
            return Err(Error::Config(reason.to_owned()));
        }
        let malformed = || Error::Config("metrics.token_sha256: must be 64 hexadecimal digits".to_owned());
        Ok(Self {
            listen: config.listen,
            token: joined::unhex(&config.token_sha256).ok_or_else(malformed)?,
            questions: Questions::new(dial),
            again: AGAIN,
        })
    }

    /// Serves until `shutdown`, as soon as the port can be had.
    pub(crate) async fn serve(self, region: Arc<Region>, shutdown: Shutdown) {
        let listener = shutdown.unless(self.bind()).await;
        if let Some(listener) = listener {
            self.serve_on(listener, region, shutdown).await;
        }
    }

    async fn bind(&self) -> TcpListener {
        let address = self.listen;
        loop {
            // Off the async threads: whoever holds a port is looked for on disk.
            let remedy = "metrics.listen in the agent's configuration (`palladium up --port-metrics`)";
            let listener = blocking(move || Ok(palladium_http::bind("metrics", address, remedy)?)).await;
            match listener {
                Ok(listener) => return listener,
                Err(error) => {
                    let again = self.again;
                    tracing::error!(%error, ?again, "nobody can read metrics; all else is served, and it is tried again");
                }
            }
            tokio::time::sleep(self.again).await;
        }
    }

    /// As [`Endpoint::serve`], on a port that is open.
    pub(crate) async fn serve_on(self, listener: TcpListener, region: Arc<Region>, shutdown: Shutdown) {
        let own = listener.local_addr().unwrap_or(self.listen);
        tracing::info!(listen = %own, "metrics are served");
        let limits = Limits {
            connections: CONNECTIONS,
            // Loopback is the only one there is.
            addresses: 1,
            streams: 1,
            drain: DRAIN,
            ..Limits::default()
        };
        let endpoint = Arc::new(self);
        let make = move |_| {
            let (endpoint, region) = (endpoint.clone(), region.clone());
            service_fn(move |request: Request<Upload>| {
                let (endpoint, region) = (endpoint.clone(), region.clone());
                let (head, _) = request.into_parts();
                async move { Ok::<_, Infallible>(endpoint.answer(&region, own, &head).await) }
            })
        };
        Server::new(listener, limits).serve(make, &shutdown).await;
    }

    /// `own`: where this listener is.
    async fn answer(&self, region: &Region, own: SocketAddr, head: &Parts) -> Answer {
        if !self.is_allowed(&head.headers) {
            let mut refused = words(StatusCode::UNAUTHORIZED, "metrics are for whoever holds their token");
            refused
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return refused;
        }
        if !is_local(&head.headers) {
            let reason = "metrics are asked for by the address that they are served on";
            return words(StatusCode::MISDIRECTED_REQUEST, reason);
        }
        if ![Method::GET, Method::HEAD].contains(&head.method) {
            let mut refused = words(StatusCode::METHOD_NOT_ALLOWED, "metrics are only read, with GET");
            refused
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        let path = head.uri.path();
        if path == "/targets" {
            return targets(region, own);
        }
        let Some((project_id, app_id)) = path.strip_prefix(PREFIX).and_then(|names| names.split_once('/')) else {
            return words(
                StatusCode::NOT_FOUND,
                "there is nothing but /targets and /metrics/<project id>/<App ID>",
            );
        };
        let Some(server) = views::dapr_server(region, project_id, app_id) else {
            let reason = "this region has no such App ID in that project; /targets names those that it has";
            return words(StatusCode::NOT_FOUND, reason);
        };
        match self.questions.ask(server).await {
            // What it is, too, is not for a tenant's process to say.
            Ok(text) => said(text, METRICS),
            Err(reason) => words(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("nothing comes from the App ID's Dapr Server: {reason}"),
            ),
        }
    }

    fn is_allowed(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        given
            .and_then(|given| given.split_once(' '))
            .is_some_and(|(scheme, token)| {
                let digest = token_digest(token.trim());
                scheme.eq_ignore_ascii_case("bearer") && constant_time_eq(&digest, &self.token)
            })
    }
}

/// Whether whoever asks knows where it asks. A page in the owner's browser whose name was made to lead here does not.
fn is_local(headers: &HeaderMap) -> bool {
    let authority = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

/// What Prometheus' HTTP service discovery reads.
fn targets(region: &Region, own: SocketAddr) -> Answer {
    let apps = views::app_ids(region).into_iter().map(|(project_id, app_id)| {
        let path = format!("{PREFIX}{project_id}/{app_id}");
        let labels = json!({ "__metrics_path__": path, "project": project_id, "app_id": app_id });
        json!({ "targets": [own.to_string()], "labels": labels })
    });
    let list: Vec<Value> = apps.collect();
    said(Value::from(list).to_string(), JSON)
}

fn said(text: impl Into<Bytes>, kind: HeaderValue) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn words(status: StatusCode, text: &str) -> Answer {
    let mut answer = said(format!("{text}\n"), WORDS);
    *answer.status_mut() = status;
    answer
}
