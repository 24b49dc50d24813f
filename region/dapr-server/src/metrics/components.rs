//! What components do.
//!
//! One idea: what is counted per call is a handle that was looked up when the component was loaded, or when an operation or a
//! topic was first seen. Topics and the operations of bindings are words of an application, so only so many get a label.
//! Must never hold a key, or anything else of what is stored or sent.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::IntCounter;

use super::family::{Counts, Maker, Spreads, Timed};
use super::words::ByWord;

/// Topics of one component that are told apart.
const MOST_TOPICS: usize = 100;
/// Operations of one component that are told apart.
const MOST_OPERATIONS: usize = 50;

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
    count: Counts,
    latency: Spreads,
    handles: [[OnceLock<Timed>; 2]; OPERATIONS.len()],
}

impl StateMetrics {
    /// Counts one call.
    pub fn observe(&self, operation: StateOperation, success: bool, elapsed: Duration) {
        self.handles[operation as usize][usize::from(success)]
            .get_or_init(|| {
                let [app_id, component, namespace] = &self.labels;
                let (_, operation) = OPERATIONS[operation as usize];
                let labels = [app_id.as_str(), component, namespace, operation, truth(success)];
                Timed::new(self.count.with(&labels), self.latency.with(&labels))
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

/// Their names, and whether operations are told apart.
const COUNTED: [(&str, bool); 6] = [
    ("secret", true),
    ("output_binding", true),
    ("input_binding", false),
    ("conversation", false),
    ("configuration", true),
    ("crypto", true),
];

/// The metrics of one such component.
pub struct CallMetrics {
    labels: [String; 3],
    count: Counts,
    latency: Spreads,
    /// Whether operations are told apart.
    by_operation: bool,
    operations: ByWord<Operation>,
}

/// What is kept for one operation, by whether it went well.
struct Operation {
    name: String,
    handles: [OnceLock<Timed>; 2],
}

impl CallMetrics {
    /// Counts one call.
    pub fn observe(&self, operation: &str, success: bool, elapsed: Duration) {
        let operation = self.operations.get(operation, |name| Operation {
            name: name.to_owned(),
            handles: Default::default(),
        });
        let make = || {
            let [app_id, component, namespace] = &self.labels;
            let all = [app_id.as_str(), component, namespace, &operation.name, truth(success)];
            let few = [app_id.as_str(), component, namespace, truth(success)];
            let labels = if self.by_operation { &all[..] } else { &few[..] };
            Timed::new(self.count.with(labels), self.latency.with(labels))
        };
        operation.handles[usize::from(success)]
            .get_or_init(make)
            .observe(elapsed);
    }
}

/// The metrics of one publish/subscribe component.
pub struct PubsubMetrics {
    labels: [String; 3],
    all: PubsubFamilies,
    topics: ByWord<Topic>,
}

#[derive(Clone)]
struct PubsubFamilies {
    egress: (Counts, Spreads),
    bulk_egress: (Counts, Spreads),
    bulk_events: Counts,
    ingress: (Counts, Spreads),
}

/// What is kept for one topic.
struct Topic {
    name: String,
    egress: [OnceLock<Timed>; 2],
    bulk_egress: [OnceLock<Timed>; 2],
    bulk_events: OnceLock<IntCounter>,
    ingress: [OnceLock<Timed>; HOW.len()],
}

/// What may become of a delivered message.
const HOW: [&str; 3] = ["success", "drop", "retry"];

impl PubsubMetrics {
    fn topic(&self, topic: &str) -> std::sync::Arc<Topic> {
        self.topics.get(topic, |name| Topic {
            name: name.to_owned(),
            egress: Default::default(),
            bulk_egress: Default::default(),
            bulk_events: OnceLock::new(),
            ingress: Default::default(),
        })
    }

    fn published(&self, (count, latency): &(Counts, Spreads), topic: &str, success: bool) -> Timed {
        let [app_id, component, namespace] = &self.labels;
        let labels = [app_id.as_str(), component, namespace, truth(success), topic];
        Timed::new(count.with(&labels), latency.with(&labels))
    }

    /// Counts a call that publishes one message.
    pub fn egress(&self, topic: &str, success: bool, elapsed: Duration) {
        let topic = self.topic(topic);
        let make = || self.published(&self.all.egress, &topic.name, success);
        topic.egress[usize::from(success)].get_or_init(make).observe(elapsed);
    }

    /// Counts a call that publishes many; `events`: how many were published.
    pub fn bulk_egress(&self, topic: &str, success: bool, events: usize, elapsed: Duration) {
        let topic = self.topic(topic);
        let make = || self.published(&self.all.bulk_egress, &topic.name, success);
        topic.bulk_egress[usize::from(success)]
            .get_or_init(make)
            .observe(elapsed);
        if events > 0 {
            let [app_id, component, namespace] = &self.labels;
            let make = || {
                let labels = [app_id.as_str(), component, namespace, truth(true), &topic.name];
                self.all.bulk_events.with(&labels)
            };
            topic.bulk_events.get_or_init(make).inc_by(events as u64);
        }
    }

    /// Counts a delivered message. `how`: `success`, `drop` or `retry`.
    pub fn ingress(&self, topic: &str, how: &'static str, elapsed: Duration) {
        let topic = self.topic(topic);
        let at = HOW.iter().position(|known| *known == how).unwrap_or(HOW.len() - 1);
        let make = || {
            let [app_id, component, namespace] = &self.labels;
            // Dapr's second word: a message that was dropped on purpose was handled.
            let status = if how == "drop" { "success" } else { HOW[at] };
            let labels = [app_id.as_str(), component, namespace, HOW[at], status, &topic.name];
            let (count, latency) = &self.all.ingress;
            Timed::new(count.with(&labels), latency.with(&labels))
        };
        topic.ingress[at].get_or_init(make).observe(elapsed);
    }
}

/// The families of all components.
pub struct ComponentMetrics {
    app_id: String,
    namespace: String,
    state: (Counts, Spreads),
    pubsub: PubsubFamilies,
    calls: [(Counts, Spreads); COUNTED.len()],
    loaded: IntCounter,
    opened: Counts,
    failed: Counts,
}

impl ComponentMetrics {
    pub(super) fn new(app_id: &str, namespace: &str, make: &Maker<'_>) -> Self {
        let egress = ["app_id", "component", "namespace", "success", "topic"];
        let ingress = ["app_id", "component", "namespace", "process_status", "status", "topic"];
        let state = ["app_id", "component", "namespace", "operation", "success"];
        let few = ["app_id", "component", "namespace", "success"];
        let both = |name: &str, what: &str, labels: &[&str]| {
            let name = |kind: &str| format!("dapr_component_{name}{kind}");
            (
                make.counts(&name("count"), &format!("{what}."), labels),
                make.latencies(&name("latencies"), &format!("Duration of {what} in ms."), labels),
            )
        };
        Self {
            app_id: app_id.to_owned(),
            namespace: namespace.to_owned(),
            state: both("state_", "calls of state stores", &state),
            pubsub: PubsubFamilies {
                egress: both("pubsub_egress_", "calls that publish", &egress),
                bulk_egress: both("pubsub_egress_bulk_", "calls that publish many messages", &egress),
                bulk_events: make.counts(
                    "dapr_component_pubsub_egress_bulk_event_count",
                    "Messages that were published with many.",
                    &egress,
                ),
                ingress: both("pubsub_ingress_", "deliveries", &ingress),
            },
            calls: COUNTED.map(|(block, by_operation)| {
                let labels = if by_operation { &state[..] } else { &few[..] };
                both(&format!("{block}_"), "calls", labels)
            }),
            loaded: make
                .counts(
                    "dapr_runtime_component_loaded",
                    "Components that are in use.",
                    &["app_id"],
                )
                .with(&[app_id]),
            opened: make.counts(
                "dapr_runtime_component_init_total",
                "Components that were opened.",
                &["app_id", "component"],
            ),
            failed: make.counts(
                "dapr_runtime_component_init_fail_total",
                "Components that could not be opened.",
                &["app_id", "component", "componentName", "reason"],
            ),
        }
    }

    fn labels(&self, component: &str) -> [String; 3] {
        [self.app_id.clone(), component.to_owned(), self.namespace.clone()]
    }

    pub(super) fn state(&self, component: &str) -> StateMetrics {
        let (count, latency) = self.state.clone();
        StateMetrics {
            labels: self.labels(component),
            count,
            latency,
            handles: Default::default(),
        }
    }

    pub(super) fn pubsub(&self, component: &str) -> PubsubMetrics {
        PubsubMetrics {
            labels: self.labels(component),
            all: self.pubsub.clone(),
            topics: ByWord::new(MOST_TOPICS),
        }
    }

    pub(super) fn calls(&self, what: Counted, component: &str) -> CallMetrics {
        let (count, latency) = self.calls[what as usize].clone();
        CallMetrics {
            labels: self.labels(component),
            count,
            latency,
            by_operation: COUNTED[what as usize].1,
            operations: ByWord::new(MOST_OPERATIONS),
        }
    }

    pub(super) fn opened(&self, kind: &str, name: &str, opened: bool) {
        if opened {
            self.opened.with(&[self.app_id.as_str(), kind]).inc();
            self.loaded.inc();
        } else {
            self.failed.with(&[self.app_id.as_str(), kind, name, "init"]).inc();
        }
    }
}

fn truth(success: bool) -> &'static str {
    if success { "true" } else { "false" }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, Registry, TextEncoder};

    use super::*;
    use crate::metrics::budget::COMPONENTS;
    use crate::resources::MetricsSettings;

    #[test]
    fn topics_and_operations_are_bounded() {
        let (registry, settings) = (Registry::new(), MetricsSettings::default());
        let metrics = ComponentMetrics::new("a", "n", &Maker::new(&registry, &settings, COMPONENTS));
        let (topics, binding) = (metrics.pubsub("p"), metrics.calls(Counted::OutputBinding, "b"));
        for number in 0..1000 {
            let word = number.to_string();
            topics.egress(&word, true, Duration::ZERO);
            topics.ingress(&word, "retry", Duration::ZERO);
            binding.observe(&word, false, Duration::ZERO);
        }
        topics.bulk_egress("0", false, 3, Duration::ZERO);
        metrics
            .calls(Counted::Conversation, "c")
            .observe("converse", true, Duration::ZERO);
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).expect("text");
        let text = String::from_utf8(text).expect("text");
        for (name, most) in [
            ("dapr_component_pubsub_egress_count{", MOST_TOPICS + 1),
            ("dapr_component_pubsub_ingress_count{", MOST_TOPICS + 1),
            ("dapr_component_output_binding_count{", MOST_OPERATIONS + 1),
        ] {
            assert_eq!(text.matches(name).count(), most, "{name}");
        }
        for line in [
            r#"dapr_component_pubsub_egress_bulk_event_count{app_id="a",component="p",namespace="n",success="true",topic="0"} 3"#,
            r#"dapr_component_conversation_count{app_id="a",component="c",namespace="n",success="true"} 1"#,
            r#"dapr_component_output_binding_count{app_id="a",component="b",namespace="n",operation="other",success="false"} 950"#,
        ] {
            assert!(text.lines().any(|said| said == line), "{line}");
        }
    }
}
