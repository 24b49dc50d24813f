//! The region's metrics for Prometheus: whom it can read, and what each App ID's Dapr Server says.
//!
//! The one idea: the agent only leads there. Dapr Servers count, each tells its own on a socket in its own folder, and this one
//! listener passes it on under the App ID's name. It is plaintext, so it is on loopback alone. Must never make a path of what
//! a request says: project and App ID are looked up among those that are there.

mod ask;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::uri::Authority;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use palladium_http::{Limits, Server, Upload};
use palladium_launch::METRICS_SOCKET;
use palladium_tasks::Shutdown;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::region::Region;
use crate::{Error, views};

pub(crate) use ask::Bounds;

/// Open connections; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 16;
const DRAIN: Duration = Duration::from_millis(200);
/// Before `<project id>/<app id>`. Neither holds a character that a path would have to escape.
const PREFIX: &str = "/metrics/";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Prometheus reads nothing that does not say what it is.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const WORDS: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

type Answer = Response<Full<Bytes>>;

/// The open listener.
pub(crate) struct Listener {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
    /// What one Dapr Server may cost.
    pub(crate) bounds: Bounds,
}

impl Listener {
    /// Nobody is answered before [`Listener::serve`].
    ///
    /// # Errors
    /// When the address is not on loopback, or taken.
    pub(crate) fn open(address: SocketAddr) -> Result<Self, Error> {
        if !address.ip().is_loopback() {
            let reason = "metrics_listen: must be a loopback address, it is plaintext";
            return Err(Error::Config(reason.to_owned()));
        }
        let listener = palladium_http::bind("metrics", address, "metrics_listen in the agent's configuration")?;
        Ok(Self {
            address: listener.local_addr().unwrap_or(address),
            listener,
            bounds: Bounds::default(),
        })
    }

    /// Serves until `shutdown`.
    pub(crate) async fn serve(self, region: Arc<Region>, shutdown: Shutdown) {
        let Self {
            listener,
            address,
            bounds,
        } = self;
        let limits = Limits {
            connections: CONNECTIONS,
            // Loopback is the only one there is.
            addresses: 1,
            // An answer is held whole: one for each connection, over HTTP/2 too.
            streams: 1,
            drain: DRAIN,
            ..Limits::default()
        };
        let make = move |_| {
            let region = region.clone();
            service_fn(move |request: Request<Upload>| {
                let (region, (head, _)) = (region.clone(), request.into_parts());
                async move {
                    if !is_local(&head.headers) {
                        let reason = "metrics are asked for by the address that they are served on";
                        return Ok::<_, Infallible>(words(StatusCode::MISDIRECTED_REQUEST, reason));
                    }
                    let path = head.uri.path();
                    Ok(answer(&region, address, bounds, &head.method, path).await)
                }
            })
        };
        Server::new(listener, limits).serve(make, &shutdown).await;
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

/// `own`: where this listener is.
async fn answer(region: &Region, own: SocketAddr, bounds: Bounds, method: &Method, path: &str) -> Answer {
    if ![Method::GET, Method::HEAD].contains(method) {
        let mut refused = words(StatusCode::METHOD_NOT_ALLOWED, "metrics are only read, with GET");
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    if path == "/targets" {
        return targets(region, own);
    }
    let Some((project_id, app_id)) = path.strip_prefix(PREFIX).and_then(|names| names.split_once('/')) else {
        return words(
            StatusCode::NOT_FOUND,
            "there is nothing but /targets and /metrics/<project id>/<App ID>",
        );
    };
    let Some(folder) = views::app_folder(region, project_id, app_id) else {
        let reason = "this region has no such App ID in that project; /targets names those that it has";
        return words(StatusCode::NOT_FOUND, reason);
    };
    match ask::dapr_server(&folder.join(METRICS_SOCKET), bounds).await {
        // What it is, too, is not for a tenant's process to say.
        Ok(text) => said(text, METRICS),
        Err(reason) => words(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("nothing comes from the App ID's Dapr Server: {reason}"),
        ),
    }
}

/// What Prometheus' HTTP service discovery reads.
fn targets(region: &Region, own: SocketAddr) -> Answer {
    let target = |address: SocketAddr, labels: Value| json!({ "targets": [address.to_string()], "labels": labels });
    let apps = views::app_ids(region).into_iter().map(|(project_id, app_id)| {
        let path = format!("{PREFIX}{project_id}/{app_id}");
        target(
            own,
            json!({ "__metrics_path__": path, "project": project_id, "app_id": app_id }),
        )
    });
    let gateway = region.config.gateway_metrics;
    let gateway = gateway.map(|address| target(address, json!({ "__metrics_path__": "/metrics" })));
    let list: Vec<Value> = apps.chain(gateway).collect();
    said(Value::from(list).to_string(), JSON)
}

fn said(text: impl Into<Bytes>, kind: HeaderValue) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn words(status: StatusCode, text: &str) -> Answer {
    let mut answer = said(format!("{text}\n"), WORDS);
    *answer.status_mut() = status;
    answer
}
