//! Metrics of resiliency policies.
//!
//! One idea: targets are words of callers, so only so many get a label of their own. Must never hold more labels than that.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use palladium_engine_resiliency::{About, Observer, PolicyKind};
use prometheus::core::Collector;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

/// How many targets are told apart.
const MOST_TARGETS: usize = 500;
/// What a circuit breaker may be.
const STATES: [&str; 4] = ["closed", "half-open", "open", "unknown"];

/// Counts what policies do. Cheap to clone.
#[derive(Clone)]
pub struct ResiliencyMetrics(Arc<Inner>);

struct Inner {
    app_id: String,
    loaded: IntCounterVec,
    executed: IntCounterVec,
    activated: IntCounterVec,
    states: IntGaugeVec,
    targets: Mutex<HashSet<String>>,
}

impl ResiliencyMetrics {
    pub(super) fn new(app_id: &str, add: impl Fn(Box<dyn Collector>)) -> Self {
        let labels = [
            "app_id",
            "flow_direction",
            "name",
            "namespace",
            "policy",
            "status",
            "target",
        ];
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels);
            let made = made.expect("invariant: names and labels here are well formed");
            add(Box::new(made.clone()));
            made
        };
        let states = IntGaugeVec::new(
            Opts::new("dapr_resiliency_cb_state", "How circuit breakers stand: 1 = so."),
            &labels,
        );
        let states = states.expect("invariant: names and labels here are well formed");
        add(Box::new(states.clone()));
        Self(Arc::new(Inner {
            app_id: app_id.to_owned(),
            loaded: counter(
                "dapr_resiliency_loaded",
                "Resources that are in force.",
                &["app_id", "name", "namespace"],
            ),
            executed: counter("dapr_resiliency_count", "Calls that have a policy.", &labels),
            activated: counter(
                "dapr_resiliency_activations_total",
                "Policies that did something.",
                &labels,
            ),
            states,
            targets: Mutex::default(),
        }))
    }

    /// A resource is in force.
    pub fn loaded(&self, name: &str, namespace: &str) {
        let inner = &self.0;
        inner.loaded.with_label_values(&[&inner.app_id, name, namespace]).inc();
    }

    fn with<T>(&self, about: &About, kind: PolicyKind, status: &str, count: impl FnOnce(&[&str; 7]) -> T) -> T {
        let mut targets = self.0.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let target = if targets.contains(&about.target) {
            about.target.as_str()
        } else if targets.len() < MOST_TARGETS {
            targets.insert(about.target.clone());
            about.target.as_str()
        } else {
            "other"
        };
        drop(targets);
        count(&[
            &self.0.app_id,
            about.direction.name(),
            &about.name,
            &about.namespace,
            kind.name(),
            status,
            target,
        ])
    }
}

impl Observer for ResiliencyMetrics {
    fn executed(&self, about: &About, kind: PolicyKind, status: &str) {
        self.with(about, kind, status, |labels| {
            self.0.executed.with_label_values(labels).inc()
        });
        if kind == PolicyKind::CircuitBreaker {
            for state in STATES {
                let is = i64::from(state == status);
                self.with(about, kind, state, |labels| {
                    self.0.states.with_label_values(labels).set(is)
                });
            }
        }
    }

    fn activated(&self, about: &About, kind: PolicyKind, status: &str) {
        self.with(about, kind, status, |labels| {
            self.0.activated.with_label_values(labels).inc()
        });
    }
}
