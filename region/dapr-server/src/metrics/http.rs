//! HTTP calls: those of the API, and those to the application.
//!
//! One idea: what is counted per call is a handle of the path that was found before the call, so that afterwards only a
//! status is looked up. Callers choose paths and methods, and applications statuses, so there are only so many series; what
//! comes later is counted under the path "other". Must never hold more than that, nor a query.

use std::borrow::Cow;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Method;
use prometheus::{Histogram, IntCounter};

use super::family::{Counts, Maker, Spreads, millis};
use super::paths::Paths;
use super::words::{ByNumber, ByWord, OTHER, one_more};
use crate::resources::MetricsSettings;

/// Paths that are told apart, in each direction.
const MOST_PATHS: usize = 500;
/// Series of one direction: path, method and status together, and path and method of what is sent. With paths of usual length
/// about half of what the page has for calls (`budget.rs`), so that neither direction takes all of it. In memory about 2 MB, if
/// ever all of them are used.
const MOST_SERIES: usize = 1000;
/// Methods and statuses that are told apart of all that comes later: those in use are few, an application may make up more.
const MOST_OTHERS: usize = 100;

const METHODS: [&str; 9] = [
    "GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE",
];
const UNKNOWN: &str = "UNKNOWN";

/// See the module.
pub struct HttpMetrics {
    app_id: String,
    exclude_verbs: bool,
    paths: Paths,
    server: Direction,
    client: Direction,
    request_bytes: Histogram,
    response_bytes: Histogram,
    received_bytes: Histogram,
    sent_bytes: Spreads,
    probes: (Counts, Spreads),
}

/// One direction.
struct Direction {
    count: Counts,
    latency: Spreads,
    /// As the original has it: only where paths are told apart.
    responses: Option<Counts>,
    paths: ByWord<PathSeries>,
    series: AtomicUsize,
    /// What comes later, by method and status.
    other: PathSeries,
    others: AtomicUsize,
    /// What comes even later.
    rest: OnceLock<Arc<Series>>,
}

/// What is kept for one path.
struct PathSeries {
    path: String,
    series: ByNumber<Series>,
    /// By method.
    sent: ByNumber<Histogram>,
}

impl PathSeries {
    fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            series: ByNumber::default(),
            sent: ByNumber::default(),
        }
    }
}

/// What is counted together.
struct Series {
    count: IntCounter,
    latency: Histogram,
    responses: Option<IntCounter>,
}

/// One call of the API, from before its beginning.
pub struct ServerCall {
    all: Arc<HttpMetrics>,
    path: Arc<PathSeries>,
}

impl HttpMetrics {
    pub(super) fn new(app_id: &str, settings: &MetricsSettings, make: &Maker<'_>) -> Self {
        let labels = ["app_id", "method", "path", "status"];
        let direction = |side: &str, count: &str, latency: &str, what: &str, responses: Option<Counts>| Direction {
            count: make.counts(&format!("dapr_http_{side}_{count}"), &format!("{what}."), &labels),
            latency: make.latencies(
                &format!("dapr_http_{side}_{latency}"),
                &format!("Duration of {what} in ms."),
                &labels,
            ),
            responses,
            paths: ByWord::new(MOST_PATHS),
            series: AtomicUsize::new(0),
            other: PathSeries::new(OTHER),
            others: AtomicUsize::new(0),
            rest: OnceLock::new(),
        };
        let responses = settings
            .increased_cardinality
            .then(|| make.counts("dapr_http_server_response_count", "Answers of the HTTP API.", &labels));
        let size = |name: &str, help: &str| make.sizes(name, help, &["app_id"]).with(&[app_id]);
        let probe = ["app_id", "status"];
        Self {
            app_id: app_id.to_owned(),
            exclude_verbs: settings.exclude_verbs,
            paths: Paths::new(settings),
            server: direction("server", "request_count", "latency", "HTTP API calls", responses),
            client: direction(
                "client",
                "completed_count",
                "roundtrip_latency",
                "HTTP calls to the application",
                None,
            ),
            request_bytes: size("dapr_http_server_request_bytes", "Bodies of HTTP API requests."),
            response_bytes: size(
                "dapr_http_server_response_bytes",
                "Bodies of HTTP API answers whose length is known at their start.",
            ),
            received_bytes: size(
                "dapr_http_client_received_bytes",
                "Bodies of the application's answers whose length is known at their start.",
            ),
            sent_bytes: make.sizes(
                "dapr_http_client_sent_bytes",
                "Bodies of HTTP requests to the application.",
                &labels,
            ),
            probes: (
                make.counts("dapr_http_healthprobes_completed_count", "Health probes.", &probe),
                make.latencies(
                    "dapr_http_healthprobes_roundtrip_latency",
                    "Duration of health probes in ms.",
                    &probe,
                ),
            ),
        }
    }

    /// A call of the API that begins. `path`: as it came.
    pub fn server(self: &Arc<Self>, path: &str) -> ServerCall {
        let path = self.paths.server(path);
        ServerCall {
            path: self.server.path(&path),
            all: self.clone(),
        }
    }

    /// A call to the application. `answer`: status and length of the answer's body; `None` = there was none.
    pub fn client(
        &self,
        method: &Method,
        path: &str,
        sent: Option<u64>,
        answer: Option<(u16, Option<u64>)>,
        elapsed: Duration,
    ) {
        let path = self.client.path(&self.paths.client(path));
        // The original says so of an application that did not answer.
        let (status, received) = answer.unwrap_or((500, None));
        self.count(&self.client, &path, method, status, elapsed);
        if let Some(sent) = sent {
            let (number, name) = self.method(method);
            let make = |path: &str| self.sent_bytes.with(&[self.app_id.as_str(), name, path, ""]);
            let room = || one_more(&self.client.series, MOST_SERIES);
            let own = path.sent.get(number, room, || make(&path.path));
            // There are only so many methods.
            let found = own.or_else(|| self.client.other.sent.get(number, || true, || make(OTHER)));
            if let Some(histogram) = found {
                histogram.observe(as_float(sent));
            }
        }
        if let Some(received) = received {
            self.received_bytes.observe(as_float(received));
        }
    }

    /// A health probe. `status`: 500 when there was no answer.
    pub fn probe(&self, status: u16, elapsed: Duration) {
        let status = status.to_string();
        let labels = [self.app_id.as_str(), &status];
        self.probes.0.with(&labels).inc();
        self.probes.1.with(&labels).observe(millis(elapsed));
    }

    fn method(&self, method: &Method) -> (u32, &'static str) {
        if self.exclude_verbs {
            return (0, "");
        }
        let at = METHODS.iter().position(|known| *known == method.as_str());
        at.map_or((0, UNKNOWN), |at| {
            (u32::try_from(at + 1).unwrap_or_default(), METHODS[at])
        })
    }

    fn count(&self, direction: &Direction, path: &PathSeries, method: &Method, status: u16, elapsed: Duration) {
        let (number, method) = self.method(method);
        let number = number << 16 | u32::from(status);
        let make = |path: &str| {
            let status = status.to_string();
            direction.make(&[self.app_id.as_str(), method, path, &status])
        };
        let room = || one_more(&direction.series, MOST_SERIES);
        let own = path.series.get(number, room, || make(&path.path));
        let found = own.or_else(|| {
            let room = || one_more(&direction.others, MOST_OTHERS);
            direction.other.series.get(number, room, || make(OTHER))
        });
        let series = found.unwrap_or_else(|| {
            let make = || Arc::new(direction.make(&[self.app_id.as_str(), OTHER, OTHER, OTHER]));
            direction.rest.get_or_init(make).clone()
        });
        series.count.inc();
        series.latency.observe(millis(elapsed));
        if let Some(responses) = &series.responses {
            responses.inc();
        }
    }
}

impl Direction {
    fn path(&self, path: &str) -> Arc<PathSeries> {
        // Paths that a rule makes one are one here as well, or they would take each other's places.
        let key = match (self.count.value(2, path), self.latency.value(2, path)) {
            (Cow::Borrowed(_), Cow::Borrowed(_)) => Cow::Borrowed(path),
            (count, latency) if count == latency => Cow::Owned(count.into_owned()),
            // Each has a rule of its own.
            _ => Cow::Borrowed(path),
        };
        self.paths.get(&key, PathSeries::new)
    }

    fn make(&self, labels: &[&str]) -> Series {
        Series {
            count: self.count.with(labels),
            latency: self.latency.with(labels),
            responses: self.responses.as_ref().map(|responses| responses.with(labels)),
        }
    }
}

impl ServerCall {
    /// The call was answered. Lengths are those of the bodies, as far as they are known.
    pub fn answered(&self, method: &Method, status: u16, elapsed: Duration, (request, response): (u64, Option<u64>)) {
        self.all.count(&self.all.server, &self.path, method, status, elapsed);
        self.all.request_bytes.observe(as_float(request));
        if let Some(response) = response {
            self.all.response_bytes.observe(as_float(response));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody needs the last byte of a petabyte")]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, Registry, TextEncoder};

    use super::*;
    use crate::metrics::budget::CALLS;

    fn text(settings: &MetricsSettings, calls: impl FnOnce(&Arc<HttpMetrics>)) -> String {
        let registry = Registry::new();
        let metrics = Arc::new(HttpMetrics::new("a", settings, &Maker::new(&registry, settings, CALLS)));
        calls(&metrics);
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).expect("text");
        String::from_utf8(text).expect("text")
    }

    fn call(metrics: &Arc<HttpMetrics>, method: &str, path: &str, status: u16) {
        let method = Method::from_bytes(method.as_bytes()).expect("a token");
        metrics
            .server(path)
            .answered(&method, status, Duration::ZERO, (1, Some(2)));
    }

    #[test]
    fn calls_have_daprs_labels() {
        let settings = MetricsSettings::default();
        let said = text(&settings, |metrics| {
            call(metrics, "GET", "/v1.0/state/s/k", 200);
            call(metrics, "GET", "/v1.0/state/s/l", 200);
            call(metrics, "BREW", "/pot", 418);
            metrics.client(&Method::GET, "hi", Some(3), Some((200, Some(9))), Duration::ZERO);
        });
        for line in [
            r#"dapr_http_server_request_count{app_id="a",method="GET",path="/v1.0/state/s",status="200"} 2"#,
            r#"dapr_http_server_response_count{app_id="a",method="GET",path="/v1.0/state/s",status="200"} 2"#,
            r#"dapr_http_server_request_count{app_id="a",method="UNKNOWN",path="/pot",status="418"} 1"#,
            r#"dapr_http_client_completed_count{app_id="a",method="GET",path="/hi",status="200"} 1"#,
            r#"dapr_http_client_sent_bytes_sum{app_id="a",method="GET",path="/hi",status=""} 3"#,
            r#"dapr_http_client_received_bytes_sum{app_id="a"} 9"#,
            r#"dapr_http_server_request_bytes_count{app_id="a"} 3"#,
        ] {
            assert!(said.lines().any(|said| said == line), "{line}\n{said}");
        }
        let settings = MetricsSettings {
            increased_cardinality: false,
            exclude_verbs: true,
            latency_buckets: vec![5.0, 50.0],
            ..settings
        };
        let said = text(&settings, |metrics| {
            call(metrics, "GET", "/v1.0/invoke/x/method/y", 200)
        });
        let line = r#"dapr_http_server_request_count{app_id="a",method="",path="",status="200"} 1"#;
        assert!(said.contains(line) && !said.contains("response_count"), "{said}");
        assert_eq!(said.matches("dapr_http_server_latency_bucket").count(), 3, "{said}");
    }

    #[test]
    fn paths_methods_and_statuses_are_bounded() {
        let said = text(&MetricsSettings::default(), |metrics| {
            for path in 0..MOST_PATHS + 50 {
                for status in 200..205 {
                    call(metrics, "GET", &format!("/{path}"), status);
                }
            }
        });
        let series = said
            .lines()
            .filter(|line| line.starts_with("dapr_http_server_request_count{"));
        // All that comes later, by its five statuses.
        assert_eq!(series.count(), MOST_SERIES + 5);
        let later = r#"dapr_http_server_request_count{app_id="a",method="GET",path="other",status="204"} 350"#;
        assert!(said.lines().any(|line| line == later), "{said}");
        // An application that answers whatever it likes.
        let said = text(&MetricsSettings::default(), |metrics| {
            for status in 100..100 + 2 * MOST_SERIES {
                let status = u16::try_from(status).expect("small");
                metrics.client(
                    &Method::PUT,
                    &format!("/{status}"),
                    Some(1),
                    Some((status, None)),
                    Duration::ZERO,
                );
            }
        });
        let calls = said.matches("dapr_http_client_completed_count{").count();
        let sent = said.matches("dapr_http_client_sent_bytes_count{").count();
        // And the rest, and what is sent to other paths.
        assert_eq!(calls + sent, MOST_SERIES + MOST_OTHERS + 2);
        for line in [
            r#"dapr_http_client_completed_count{app_id="a",method="other",path="other",status="other"}"#,
            r#"dapr_http_client_sent_bytes_count{app_id="a",method="PUT",path="other",status=""}"#,
        ] {
            assert!(said.contains(line), "{line}\n{said}");
        }
    }
}
