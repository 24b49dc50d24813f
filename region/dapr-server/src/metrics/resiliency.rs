//! Metrics of resiliency policies.
//!
//! One idea: targets are words of callers, so only so many get a label of their own, and none a long one. Must never hold
//! more labels than that.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use palladium_engine_resiliency::{About, Observer, PolicyKind};

use super::family::{Counts, Gauges, Maker};
use super::words::{OTHER, cut};

/// How many targets are told apart.
const MOST_TARGETS: usize = 500;
/// What a circuit breaker may be.
const STATES: [&str; 4] = ["closed", "half-open", "open", "unknown"];

/// Counts what policies do. Cheap to clone.
#[derive(Clone)]
pub struct ResiliencyMetrics(Arc<Inner>);

struct Inner {
    app_id: String,
    loaded: Counts,
    executed: Counts,
    activated: Counts,
    states: Gauges,
    targets: Mutex<HashSet<String>>,
}

impl ResiliencyMetrics {
    pub(super) fn new(app_id: &str, make: &Maker<'_>) -> Self {
        let labels = [
            "app_id",
            "flow_direction",
            "name",
            "namespace",
            "policy",
            "status",
            "target",
        ];
        Self(Arc::new(Inner {
            app_id: app_id.to_owned(),
            loaded: make.counts(
                "dapr_resiliency_loaded",
                "Resources that are in force.",
                &["app_id", "name", "namespace"],
            ),
            executed: make.counts("dapr_resiliency_count", "Calls that have a policy.", &labels),
            activated: make.counts(
                "dapr_resiliency_activations_total",
                "Policies that did something.",
                &labels,
            ),
            states: make.gauges(
                "dapr_resiliency_cb_state",
                "How circuit breakers stand: 1 = so.",
                &labels,
            ),
            targets: Mutex::default(),
        }))
    }

    /// A resource is in force.
    pub fn loaded(&self, name: &str, namespace: &str) {
        let inner = &self.0;
        inner.loaded.with(&[inner.app_id.as_str(), name, namespace]).inc();
    }

    fn with<T>(&self, about: &About, kind: PolicyKind, status: &str, count: impl FnOnce(&[&str; 7]) -> T) -> T {
        let mut targets = self.0.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let target = match cut(&about.target) {
            target if targets.contains(target) => target,
            target if targets.len() < MOST_TARGETS => {
                targets.insert(target.to_owned());
                target
            }
            _ => OTHER,
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
        self.with(about, kind, status, |labels| self.0.executed.with(labels).inc());
        if kind == PolicyKind::CircuitBreaker {
            for state in STATES {
                let is = i64::from(state == status);
                self.with(about, kind, state, |labels| self.0.states.with(labels).set(is));
            }
        }
    }

    fn activated(&self, about: &About, kind: PolicyKind, status: &str) {
        self.with(about, kind, status, |labels| self.0.activated.with(labels).inc());
    }
}
