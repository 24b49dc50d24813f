//! Counters of the gateway, in Prometheus' text form.
//!
//! One idea: whoever counts holds the counter; nothing is looked up by name while a request waits. Labels are ids and fixed
//! words, never anything that a request says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::service::service_fn;
use palladium_http::{BindError, Limits, Server};
use palladium_tasks::Shutdown;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::failure::Kind;

/// What [`Metrics::text`] gives; Prometheus reads nothing that does not say what it is.
const TEXT: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    project: String,
    app_id: String,
    /// "2xx" and so on; "incomplete" when the answer did not go out whole.
    class: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// All metrics of the process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Labels, Counter>,
    refused: Family<Reason, Counter>,
    duration: Histogram,
    /// Connections opened to Dapr Servers.
    pub(crate) dialled: Counter,
    /// Requests that wait for a Dapr Server.
    pub(crate) held: Gauge,
    pub(crate) route_version: Gauge<u64, AtomicU64>,
    /// 1 while the agent's stream is up.
    pub(crate) agent_connected: Gauge,
    pub(crate) table_age: Gauge<u64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("palladium_gateway");
        let (requests, refused) = (Family::default(), Family::default());
        let duration = Histogram::new(BUCKETS);
        let (dialled, held) = (Counter::default(), Gauge::default());
        let (route_version, agent_connected, table_age) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("requests", "Requests of App IDs by class of answer", requests.clone());
        registry.register(
            "refused",
            "Requests refused before an App ID was known",
            refused.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "From the head of a request to the end of its answer",
            duration.clone(),
        );
        registry.register(
            "upstream_connections",
            "Connections opened to Dapr Servers",
            dialled.clone(),
        );
        registry.register("held_requests", "Requests that wait for a Dapr Server", held.clone());
        registry.register(
            "route_version",
            "Version of the route table in use",
            route_version.clone(),
        );
        registry.register(
            "agent_connected",
            "1 while the agent's route stream is up",
            agent_connected.clone(),
        );
        registry.register(
            "route_table_age_seconds",
            "How far the route table may be behind: 0 while the agent's route stream is up",
            table_age.clone(),
        );
        Self {
            registry: Arc::new(registry),
            requests,
            refused,
            duration,
            dialled,
            held,
            route_version,
            agent_connected,
            table_age,
        }
    }

    /// The counters of one App ID; the same ones each time.
    pub(crate) fn route(&self, project: &str, app_id: &str) -> RouteCounters {
        let counter = |class| {
            let labels = Labels {
                project: project.to_owned(),
                app_id: app_id.to_owned(),
                class,
            };
            self.requests.get_or_create(&labels).clone()
        };
        RouteCounters(["incomplete", "1xx", "2xx", "3xx", "4xx", "5xx"].map(counter))
    }

    pub(crate) fn refused(&self, kind: Kind) {
        self.refused.get_or_create(&Reason { reason: kind.label() }).inc();
    }

    pub(crate) fn took(&self, time: Duration) {
        self.duration.observe(time.as_secs_f64());
    }

    /// Prometheus' text form.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// Opens the listener of `GET /metrics`; what is returned serves until `shutdown`.
    pub(crate) fn server(
        &self,
        address: SocketAddr,
        shutdown: Shutdown,
    ) -> Result<impl Future<Output = ()> + Send + 'static, BindError> {
        let listener = palladium_http::bind("the gateway's metrics", address, "metrics_listen in its configuration")?;
        let metrics = self.clone();
        let limits = Limits {
            connections: 16,
            drain: Duration::from_millis(200),
            ..Limits::default()
        };
        Ok(async move {
            let make = move |_| {
                let metrics = metrics.clone();
                service_fn(move |request: http::Request<palladium_http::Upload>| {
                    let known = request.uri().path() == "/metrics";
                    let text = if known { metrics.text() } else { String::new() };
                    let mut response = Response::new(Full::new(Bytes::from(text)));
                    if known {
                        response.headers_mut().insert(CONTENT_TYPE, TEXT);
                    } else {
                        *response.status_mut() = StatusCode::NOT_FOUND;
                    }
                    std::future::ready(Ok::<_, Infallible>(response))
                })
            };
            Server::new(listener, limits).serve(make, &shutdown).await;
        })
    }
}

/// Counters of one App ID, resolved when its route was loaded.
pub(crate) struct RouteCounters([Counter; 6]);

impl RouteCounters {
    pub(crate) fn count(&self, status: u16, completed: bool) {
        let class = if completed { usize::from(status / 100) } else { 0 };
        if let Some(counter) = self.0.get(class) {
            counter.inc();
        }
    }
}
