//! Metrics under Dapr's names.
//!
//! One idea: what is counted per call is a handle that was looked up when the component was loaded or the method was
//! first seen, so that counting is an addition. Labels never hold keys, paths or other words of an application.

mod resiliency;

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

use crate::errors::Fault;

/// Dapr's default latency buckets in milliseconds.
const BUCKETS: &[f64] = &[
    1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0, 25.0, 30.0, 40.0, 50.0, 65.0, 80.0, 100.0, 130.0, 160.0,
    200.0, 250.0, 300.0, 400.0, 500.0, 650.0, 800.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0, 50000.0, 100_000.0,
];

/// All metrics of one Dapr Server.
pub struct Metrics {
    registry: Registry,
    app_id: String,
    namespace: String,
    http_count: IntCounterVec,
    http_latency: HistogramVec,
    http: [[OnceLock<Timed>; STATUSES.len() + 1]; METHODS.len() + 1],
    grpc_count: IntCounterVec,
    grpc_latency: HistogramVec,
    state_count: IntCounterVec,
    state_latency: HistogramVec,
    pubsub_egress: (IntCounterVec, HistogramVec),
    pubsub_egress_bulk: (IntCounterVec, HistogramVec),
    pubsub_egress_events: IntCounterVec,
    pubsub_ingress: (IntCounterVec, HistogramVec),
    calls: [(IntCounterVec, HistogramVec); COUNTED.len()],
    resiliency: resiliency::ResiliencyMetrics,
    components: IntCounterVec,
    /// Only with `recordErrorCodes`.
    error_codes: Option<IntCounterVec>,
}

/// A counter with a latency.
pub struct Timed {
    count: IntCounter,
    latency: Histogram,
}

impl Timed {
    /// Counts one call.
    pub fn observe(&self, elapsed: Duration) {
        self.count.inc();
        self.latency.observe(elapsed.as_secs_f64() * 1e3);
    }
}

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
const STATUSES: [u16; 14] = [200, 201, 202, 204, 304, 400, 401, 403, 404, 409, 413, 500, 501, 503];

/// The operations on a state store that are told apart.
#[derive(Clone, Copy, Debug)]
pub enum StateOperation {
    /// Read one.
    Get,
    /// Write.
    Set,
    /// Delete one.
    Delete,
    /// Read many.
    BulkGet,
    /// Delete many.
    BulkDelete,
    /// Query.
    Query,
    /// Transaction.
    Transaction,
}

const OPERATIONS: [(StateOperation, &str); 7] = [
    (StateOperation::Get, "get"),
    (StateOperation::Set, "set"),
    (StateOperation::Delete, "delete"),
    (StateOperation::BulkGet, "bulk_get"),
    (StateOperation::BulkDelete, "bulk_delete"),
    (StateOperation::Query, "query"),
    (StateOperation::Transaction, "state_transaction"),
];

/// The metrics of one state store. A handle exists from its first use on, so that idle stores cost nothing.
pub struct StateMetrics {
    labels: [String; 3],
    count: IntCounterVec,
    latency: HistogramVec,
    handles: [[OnceLock<Timed>; 2]; OPERATIONS.len()],
}

impl StateMetrics {
    /// Counts one call.
    pub fn observe(&self, operation: StateOperation, success: bool, elapsed: Duration) {
        self.handles[operation as usize][usize::from(success)]
            .get_or_init(|| {
                let [app_id, component, namespace] = &self.labels;
                let (_, operation) = OPERATIONS[operation as usize];
                let success = if success { "true" } else { "false" };
                let labels = [app_id.as_str(), component, namespace, operation, success];
                Timed {
                    count: self.count.with_label_values(&labels),
                    latency: self.latency.with_label_values(&labels),
                }
            })
            .observe(elapsed);
    }
}

/// What is counted for building blocks that have no more to tell than which operation it was and whether it went well.
#[derive(Clone, Copy, Debug)]
pub enum Counted {
    /// Reads of secrets.
    Secret,
    /// Calls out by a binding.
    OutputBinding,
    /// Events that came in by a binding.
    InputBinding,
    /// Conversations.
    Conversation,
    /// Calls of configuration stores.
    Configuration,
    /// Wrapping and unwrapping of keys.
    Crypto,
}

const COUNTED: [&str; 6] = [
    "secret",
    "output_binding",
    "input_binding",
    "conversation",
    "configuration",
    "crypto",
];

/// The metrics of one such component.
pub struct CallMetrics {
    labels: [String; 3],
    count: IntCounterVec,
    latency: HistogramVec,
}

impl CallMetrics {
    /// Counts one call. `operation`: a word of this program or a driver, never one that an application made up.
    pub fn observe(&self, operation: &str, success: bool, elapsed: Duration) {
        let [app_id, component, namespace] = &self.labels;
        let success = if success { "true" } else { "false" };
        let labels = [app_id.as_str(), component, namespace, operation, success];
        self.count.with_label_values(&labels).inc();
        self.latency
            .with_label_values(&labels)
            .observe(elapsed.as_secs_f64() * 1e3);
    }
}

/// The metrics of one publish/subscribe component. Topics are words of an application, so only so many get a label.
pub struct PubsubMetrics {
    labels: [String; 3],
    egress: (IntCounterVec, HistogramVec),
    egress_bulk: (IntCounterVec, HistogramVec),
    egress_events: IntCounterVec,
    ingress: (IntCounterVec, HistogramVec),
    topics: Mutex<HashSet<String>>,
}

impl PubsubMetrics {
    const MOST_TOPICS: usize = 100;

    fn topic<'a>(&self, topic: &'a str) -> &'a str {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if topics.contains(topic) {
            return topic;
        }
        if topics.len() >= Self::MOST_TOPICS {
            return "other";
        }
        topics.insert(topic.to_owned());
        topic
    }

    /// Counts a call that publishes.
    pub fn egress(&self, topic: &str, success: bool, elapsed: Duration) {
        self.count(&self.egress, topic, success, elapsed);
    }

    /// Counts a call that publishes many messages, and those of them that the broker has.
    pub fn egress_bulk(&self, topic: &str, success: bool, published: usize, elapsed: Duration) {
        self.count(&self.egress_bulk, topic, success, elapsed);
        if published > 0 {
            let [app_id, component, namespace] = &self.labels;
            let labels = [app_id.as_str(), component, namespace, "true", self.topic(topic)];
            let published = u64::try_from(published).unwrap_or(u64::MAX);
            self.egress_events.with_label_values(&labels).inc_by(published);
        }
    }

    fn count(&self, on: &(IntCounterVec, HistogramVec), topic: &str, success: bool, elapsed: Duration) {
        let [app_id, component, namespace] = &self.labels;
        let success = if success { "true" } else { "false" };
        let labels = [app_id.as_str(), component, namespace, success, self.topic(topic)];
        on.0.with_label_values(&labels).inc();
        on.1.with_label_values(&labels).observe(elapsed.as_secs_f64() * 1e3);
    }

    /// Counts a delivered message. `how`: `success`, `drop` or `retry`.
    pub fn ingress(&self, topic: &str, how: &'static str, elapsed: Duration) {
        let [app_id, component, namespace] = &self.labels;
        // Dapr's second word: a message that was dropped on purpose was handled.
        let status = if how == "drop" { "success" } else { how };
        let labels = [app_id.as_str(), component, namespace, how, status, self.topic(topic)];
        self.ingress.0.with_label_values(&labels).inc();
        self.ingress
            .1
            .with_label_values(&labels)
            .observe(elapsed.as_secs_f64() * 1e3);
    }
}

impl Metrics {
    /// All at zero. `error_codes`: whether failed calls are counted by their tag.
    pub fn new(app_id: &str, namespace: &str, error_codes: bool) -> Self {
        let registry = Registry::new();
        let count =
            |name: &str, help: &str, labels: &[&str]| add(&registry, IntCounterVec::new(Opts::new(name, help), labels));
        let latency = |name: &str, help: &str, labels: &[&str]| {
            let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
            add(&registry, HistogramVec::new(options, labels))
        };
        let http = ["app_id", "method", "status"];
        let grpc = ["app_id", "grpc_server_method", "grpc_server_status"];
        let egress = ["app_id", "component", "namespace", "success", "topic"];
        let ingress = ["app_id", "component", "namespace", "process_status", "status", "topic"];
        let state = ["app_id", "component", "namespace", "operation", "success"];
        Self {
            http_count: count("dapr_http_server_request_count", "HTTP API calls.", &http),
            http_latency: latency("dapr_http_server_latency", "Duration of HTTP API calls in ms.", &http),
            http: Default::default(),
            grpc_count: count("dapr_grpc_io_server_completed_rpcs", "gRPC API calls.", &grpc),
            grpc_latency: latency(
                "dapr_grpc_io_server_server_latency",
                "Duration of gRPC API calls in ms.",
                &grpc,
            ),
            state_count: count("dapr_component_state_count", "Calls of state stores.", &state),
            state_latency: latency(
                "dapr_component_state_latencies",
                "Duration of state store calls in ms.",
                &state,
            ),
            pubsub_egress: (
                count("dapr_component_pubsub_egress_count", "Calls that publish.", &egress),
                latency(
                    "dapr_component_pubsub_egress_latencies",
                    "Duration of calls that publish in ms.",
                    &egress,
                ),
            ),
            pubsub_egress_bulk: (
                count(
                    "dapr_component_pubsub_egress_bulk_count",
                    "Calls that publish many messages.",
                    &egress,
                ),
                latency(
                    "dapr_component_pubsub_egress_bulk_latencies",
                    "Duration of calls that publish many messages in ms.",
                    &egress,
                ),
            ),
            pubsub_egress_events: count(
                "dapr_component_pubsub_egress_bulk_event_count",
                "Messages published by calls that publish many.",
                &egress,
            ),
            pubsub_ingress: (
                count("dapr_component_pubsub_ingress_count", "Delivered messages.", &ingress),
                latency(
                    "dapr_component_pubsub_ingress_latencies",
                    "Duration of deliveries in ms.",
                    &ingress,
                ),
            ),
            calls: COUNTED.map(|block| {
                let name = |what| format!("dapr_component_{block}_{what}");
                (
                    count(&name("count"), "Calls.", &state),
                    latency(&name("latencies"), "Duration of calls in ms.", &state),
                )
            }),
            resiliency: resiliency::ResiliencyMetrics::new(app_id, |collector| add_any(&registry, collector)),
            components: count(
                "dapr_runtime_component_init_total",
                "Loaded components.",
                &["app_id", "type", "result"],
            ),
            error_codes: error_codes.then(|| {
                count(
                    "dapr_error_code_total",
                    "Failed API calls by tag.",
                    &["app_id", "category", "error_code"],
                )
            }),
            registry,
            app_id: app_id.to_owned(),
            namespace: namespace.to_owned(),
        }
    }

    /// Counts one HTTP call.
    pub fn http(&self, method: &Method, status: StatusCode, elapsed: Duration) {
        let method = METHODS
            .iter()
            .position(|known| *known == method.as_str())
            .unwrap_or(METHODS.len());
        let slot = STATUSES
            .iter()
            .position(|known| *known == status.as_u16())
            .unwrap_or(STATUSES.len());
        self.http[method][slot]
            .get_or_init(|| {
                let code = STATUSES.get(slot).map_or_else(|| "other".to_owned(), u16::to_string);
                let labels = [
                    self.app_id.as_str(),
                    METHODS.get(method).copied().unwrap_or("other"),
                    &code,
                ];
                Timed {
                    count: self.http_count.with_label_values(&labels),
                    latency: self.http_latency.with_label_values(&labels),
                }
            })
            .observe(elapsed);
    }

    /// Counts one gRPC call. `method`: a path of the API, never a caller's invention.
    pub fn grpc(&self, method: &str, status: &str, elapsed: Duration) {
        let labels = [self.app_id.as_str(), method, status];
        self.grpc_count.with_label_values(&labels).inc();
        self.grpc_latency
            .with_label_values(&labels)
            .observe(elapsed.as_secs_f64() * 1e3);
    }

    /// The handles for one state store.
    pub fn state(&self, component: &str) -> StateMetrics {
        StateMetrics {
            labels: [self.app_id.clone(), component.to_owned(), self.namespace.clone()],
            count: self.state_count.clone(),
            latency: self.state_latency.clone(),
            handles: Default::default(),
        }
    }

    /// The handles for one publish/subscribe component.
    pub fn pubsub(&self, component: &str) -> PubsubMetrics {
        PubsubMetrics {
            labels: [self.app_id.clone(), component.to_owned(), self.namespace.clone()],
            egress: self.pubsub_egress.clone(),
            egress_bulk: self.pubsub_egress_bulk.clone(),
            egress_events: self.pubsub_egress_events.clone(),
            ingress: self.pubsub_ingress.clone(),
            topics: Mutex::default(),
        }
    }

    /// The handles for one component of a block that only counts calls.
    pub fn calls(&self, what: Counted, component: &str) -> CallMetrics {
        let (count, latency) = self.calls[what as usize].clone();
        CallMetrics {
            labels: [self.app_id.clone(), component.to_owned(), self.namespace.clone()],
            count,
            latency,
        }
    }

    /// What counts the doings of resiliency policies.
    pub fn resiliency(&self) -> &resiliency::ResiliencyMetrics {
        &self.resiliency
    }

    /// Counts a component that was loaded, or failed to.
    pub fn component(&self, kind: &str, loaded: bool) {
        let result = if loaded { "success" } else { "failure" };
        self.components
            .with_label_values(&[self.app_id.as_str(), kind, result])
            .inc();
    }

    /// Counts a failed call.
    pub fn fault(&self, fault: &Fault) {
        if let Some(counter) = &self.error_codes {
            counter
                .with_label_values(&[self.app_id.as_str(), fault.category, &fault.report.tag])
                .inc();
        }
    }

    /// Everything in Prometheus' text form.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::warn!(%error, "metrics cannot be written");
        }
        text
    }
}

fn add_any(registry: &Registry, collector: Box<dyn Collector>) {
    registry
        .register(collector)
        .expect("invariant: each name is registered once");
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("invariant: names and labels above are well formed");
    registry
        .register(Box::new(collector.clone()))
        .expect("invariant: each name is registered once");
    collector
}
