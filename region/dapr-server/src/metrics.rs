//! Metrics under Dapr's names.
//!
//! One idea: what is counted per call is a handle that was looked up when the component was loaded or the word was first
//! seen, so that counting is an addition. What callers may choose (paths, methods, topics, App IDs) has a label only so many
//! times, see `words.rs`, and all of it together only so many bytes of the page, see `budget.rs`. What a Configuration says of
//! calls can be put in force while others count: their families are replaced as a whole; those of components stay as they
//! were at the start. Labels never hold keys or what is sent.

mod budget;
mod components;
mod family;
mod grpc;
mod http;
mod invocation;
pub(crate) mod page;
mod paths;
mod resiliency;
mod shape;
mod words;

use std::sync::Arc;
use std::time::Duration;

use ::http::Method;
use arc_swap::ArcSwap;
use palladium_spiffe::SpiffeId;
use prometheus::{Encoder, Histogram, Registry, TextEncoder};

pub use components::{CallMetrics, Counted, PubsubMetrics, StateMetrics, StateOperation};
pub(crate) use grpc::message as message_bytes;
pub use http::ServerCall;
pub use invocation::{Kind, Received, Sent};

use crate::errors::Fault;
use crate::resources::MetricsSettings;
use components::ComponentMetrics;
use family::{Counts, Maker};
use grpc::GrpcMetrics;
use http::HttpMetrics;
use invocation::InvocationMetrics;
use words::{ByWord, OTHER};

/// Tags of failed calls that are told apart. All are this program's words; no list of them exists.
const MOST_TAGS: usize = 500;

/// All metrics of one Dapr Server.
pub struct Metrics {
    app_id: String,
    registry: Registry,
    components: ComponentMetrics,
    resiliency: resiliency::ResiliencyMetrics,
    calls: ArcSwap<Calls>,
}

/// What counts calls, as one Configuration says.
struct Calls {
    settings: MetricsSettings,
    registry: Registry,
    http: Arc<HttpMetrics>,
    grpc: GrpcMetrics,
    invocation: Arc<InvocationMetrics>,
    /// Only with `recordErrorCodes`.
    error_codes: Option<(Counts, ByWord<prometheus::IntCounter>)>,
}

impl Calls {
    fn new(app_id: &str, settings: &MetricsSettings) -> Self {
        let registry = Registry::new();
        let make = Maker::new(&registry, settings, budget::CALLS);
        let error_codes = settings.record_error_codes.then(|| {
            let labels = ["app_id", "category", "error_code"];
            let counts = make.counts("dapr_error_code_total", "Failed API calls by tag.", &labels);
            (counts, ByWord::new(MOST_TAGS))
        });
        Self {
            http: Arc::new(HttpMetrics::new(app_id, settings, &make)),
            grpc: GrpcMetrics::new(app_id, &make),
            invocation: Arc::new(InvocationMetrics::new(app_id, &make)),
            error_codes,
            settings: settings.clone(),
            registry,
        }
    }
}

impl Metrics {
    /// All at zero.
    pub fn new(app_id: &str, namespace: &str, settings: &MetricsSettings) -> Self {
        let registry = Registry::new();
        let make = Maker::new(&registry, settings, budget::COMPONENTS);
        Self {
            app_id: app_id.to_owned(),
            components: ComponentMetrics::new(app_id, namespace, &make),
            resiliency: resiliency::ResiliencyMetrics::new(app_id, &make),
            calls: ArcSwap::from_pointee(Calls::new(app_id, settings)),
            registry,
        }
    }

    /// Counts calls as another Configuration says, from zero. Nothing happens when it says the same.
    pub fn apply(&self, settings: &MetricsSettings) {
        if self.calls.load().settings != *settings {
            self.calls.store(Arc::new(Calls::new(&self.app_id, settings)));
        }
    }

    /// An HTTP call of the API begins. `path`: as it came.
    pub fn http(&self, path: &str) -> ServerCall {
        self.calls.load().http.server(path)
    }

    /// An HTTP call to the application has ended. `sent`: length of its body; `answer`: status and length of the answer's
    /// body; `None` = there was none.
    pub fn http_client(
        &self,
        method: &Method,
        path: &str,
        sent: Option<u64>,
        answer: Option<(u16, Option<u64>)>,
        elapsed: Duration,
    ) {
        self.calls.load().http.client(method, path, sent, answer, elapsed);
    }

    /// A health probe by HTTP. `status`: 500 when there was no answer.
    pub fn http_probe(&self, status: u16, elapsed: Duration) {
        self.calls.load().http.probe(status, elapsed);
    }

    /// A gRPC call of the API has ended. `method`: its name, or the whole path of one that is passed on. `received`: bytes of its request; `None` = a stream.
    pub fn grpc(&self, method: &str, code: tonic::Code, received: Option<usize>, elapsed: Duration) {
        self.calls.load().grpc.server(method, code, received, elapsed);
    }

    /// What counts the message of a gRPC answer of the API.
    pub fn grpc_answer(&self, method: &str) -> Histogram {
        self.calls.load().grpc.answer(method)
    }

    /// A gRPC call to the application has ended. `bytes`: of the request and of the answer, where they are known.
    pub fn grpc_client(&self, method: &str, code: tonic::Code, bytes: Option<(usize, usize)>, elapsed: Duration) {
        self.calls.load().grpc.client(method, code, bytes, elapsed);
    }

    /// A health probe by gRPC.
    pub fn grpc_probe(&self, code: tonic::Code, elapsed: Duration) {
        self.calls.load().grpc.probe(code, elapsed);
    }

    /// A call of another App ID begins.
    pub fn invoked(&self, callee: &str, kind: Kind) -> Sent {
        self.calls.load().invocation.sent(callee, kind)
    }

    /// A call by another App ID begins.
    pub fn called(&self, caller: &str) -> Received {
        self.calls.load().invocation.received(caller)
    }

    /// Access control judged a call of a peer, by a policy for its App ID or by the one for all.
    pub fn judged(&self, peer: &SpiffeId, by_app: bool, allowed: bool) {
        let (domain, namespace) = (peer.trust_domain(), peer.namespace_and_name());
        let namespace = namespace.map_or("", |(namespace, _)| namespace);
        let calls = self.calls.load();
        calls.invocation.judged(domain.as_str(), namespace, by_app, allowed);
    }

    /// The handles for one state store.
    pub fn state(&self, component: &str) -> StateMetrics {
        self.components.state(component)
    }

    /// The handles for one publish/subscribe component.
    pub fn pubsub(&self, component: &str) -> PubsubMetrics {
        self.components.pubsub(component)
    }

    /// The handles for one component of a block that only counts calls.
    pub fn calls(&self, what: Counted, component: &str) -> CallMetrics {
        self.components.calls(what, component)
    }

    /// What counts the doings of resiliency policies.
    pub fn resiliency(&self) -> &resiliency::ResiliencyMetrics {
        &self.resiliency
    }

    /// Counts a component that was opened, or could not be.
    pub fn component(&self, kind: &str, name: &str, opened: bool) {
        self.components.opened(kind, name, opened);
    }

    /// Counts a failed call.
    pub fn fault(&self, fault: &Fault) {
        if let Some((counts, tags)) = &self.calls.load().error_codes {
            let (category, tag) = (fault.category, fault.report.tag.as_str());
            let make = |word: &str| {
                let tag = if word == OTHER { word } else { tag };
                counts.with(&[self.app_id.as_str(), category, tag])
            };
            tags.get(&format!("{category} {tag}"), make).inc();
        }
    }

    /// Everything in Prometheus' text form.
    pub fn text(&self) -> Vec<u8> {
        let mut families = self.registry.gather();
        families.extend(self.calls.load().registry.gather());
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::warn!(%error, "metrics cannot be written");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_configuration_counts_from_then_on() {
        let metrics = Metrics::new("a", "", &MetricsSettings::default());
        let count = |metrics: &Metrics| {
            let call = metrics.http("/v1.0/metadata");
            call.answered(&Method::GET, 200, Duration::ZERO, (0, None));
            String::from_utf8(metrics.text()).expect("text")
        };
        let by_path = r#"dapr_http_server_request_count{app_id="a",method="GET",path="/v1.0/metadata",status="200"}"#;
        assert!(count(&metrics).contains(by_path));
        metrics.apply(&MetricsSettings::default());
        assert!(
            count(&metrics).contains(&format!("{by_path} 2")),
            "the same is no change"
        );
        metrics.apply(&MetricsSettings {
            increased_cardinality: false,
            ..MetricsSettings::default()
        });
        let text = count(&metrics);
        assert!(
            text.contains(r#"request_count{app_id="a",method="GET",path="",status="200"} 1"#)
                && !text.contains(by_path)
        );
    }
}
