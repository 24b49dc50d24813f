//! Families of metrics with their labels.
//!
//! One idea: a rule of the Configuration rewrites a label's value where a series is made, so that counting stays an
//! addition. Must never make a family whose labels could not be written: names are this program's own words.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};
use regex::Regex;

use crate::resources::{MetricsSettings, expression};

/// Dapr's default latency buckets in milliseconds.
const LATENCIES: &[f64] = &[
    1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0, 25.0, 30.0, 40.0, 50.0, 65.0, 80.0, 100.0, 130.0, 160.0,
    200.0, 250.0, 300.0, 400.0, 500.0, 650.0, 800.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0, 50000.0, 100_000.0,
];

/// Dapr's size buckets in bytes.
const SIZES: &[f64] = &[
    1024.0,
    2048.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];

/// A counter with a latency.
pub struct Timed {
    count: IntCounter,
    latency: Histogram,
}

impl Timed {
    pub(super) fn new(count: IntCounter, latency: Histogram) -> Self {
        Self { count, latency }
    }

    /// Counts one call.
    pub fn observe(&self, elapsed: Duration) {
        self.count.inc();
        self.latency.observe(millis(elapsed));
    }
}

/// As latencies are told.
pub(super) fn millis(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e3
}

/// One label's rewrite: which label, what is looked for, what comes in its place.
type Rewrite = (usize, Regex, String);

/// Counters of one name.
#[derive(Clone)]
pub struct Counts {
    vec: IntCounterVec,
    rewrites: Arc<[Rewrite]>,
}

impl Counts {
    /// The counter with these labels.
    pub fn with(&self, labels: &[&str]) -> IntCounter {
        rewritten(&self.rewrites, labels, |labels| self.vec.with_label_values(labels))
    }
}

/// Histograms of one name.
#[derive(Clone)]
pub struct Spreads {
    vec: HistogramVec,
    rewrites: Arc<[Rewrite]>,
}

impl Spreads {
    /// The histogram with these labels.
    pub fn with(&self, labels: &[&str]) -> Histogram {
        rewritten(&self.rewrites, labels, |labels| self.vec.with_label_values(labels))
    }

    /// What a rule makes of one label's value.
    pub fn value<'a>(&self, label: usize, value: &'a str) -> Cow<'a, str> {
        rewrite(&self.rewrites, label, value)
    }
}

impl Counts {
    /// What a rule makes of one label's value.
    pub fn value<'a>(&self, label: usize, value: &'a str) -> Cow<'a, str> {
        rewrite(&self.rewrites, label, value)
    }
}

fn rewrite<'a>(rewrites: &[Rewrite], label: usize, value: &'a str) -> Cow<'a, str> {
    let mut value = Cow::Borrowed(value);
    // What is empty says that there is no such label.
    if value.is_empty() {
        return value;
    }
    for (_, expression, by) in rewrites.iter().filter(|(at, ..)| *at == label) {
        let other = match expression.replace_all(&value, by.as_str()) {
            Cow::Owned(other) => Some(other),
            Cow::Borrowed(_) => None,
        };
        if let Some(other) = other {
            value = Cow::Owned(other);
        }
    }
    value
}

fn rewritten<T>(rewrites: &[Rewrite], labels: &[&str], make: impl FnOnce(&[&str]) -> T) -> T {
    if rewrites.is_empty() {
        return make(labels);
    }
    let values: Vec<Cow<'_, str>> = labels
        .iter()
        .enumerate()
        .map(|(at, value)| rewrite(rewrites, at, value))
        .collect();
    let values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
    make(&values)
}

/// Makes families in one registry.
pub struct Maker<'a> {
    registry: &'a Registry,
    settings: &'a MetricsSettings,
}

impl<'a> Maker<'a> {
    pub(super) fn new(registry: &'a Registry, settings: &'a MetricsSettings) -> Self {
        Self { registry, settings }
    }

    /// Counters.
    pub fn counts(&self, name: &str, help: &str, labels: &[&str]) -> Counts {
        Counts {
            vec: self.add(IntCounterVec::new(Opts::new(name, help), labels)),
            rewrites: self.rewrites(name, labels),
        }
    }

    /// Histograms of milliseconds.
    pub fn latencies(&self, name: &str, help: &str, labels: &[&str]) -> Spreads {
        let buckets = match self.settings.latency_buckets.as_slice() {
            [] => LATENCIES,
            own => own,
        };
        self.spreads(name, help, labels, buckets)
    }

    /// Histograms of bytes.
    pub fn sizes(&self, name: &str, help: &str, labels: &[&str]) -> Spreads {
        self.spreads(name, help, labels, SIZES)
    }

    fn spreads(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Spreads {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        Spreads {
            vec: self.add(HistogramVec::new(options, labels)),
            rewrites: self.rewrites(name, labels),
        }
    }

    /// Takes in a collector that was made elsewhere.
    pub fn add_any(&self, collector: Box<dyn Collector>) {
        self.registry
            .register(collector)
            .expect("invariant: each name is registered once");
    }

    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("invariant: names and labels of this program are well formed");
        self.add_any(Box::new(collector.clone()));
        collector
    }

    fn rewrites(&self, name: &str, labels: &[&str]) -> Arc<[Rewrite]> {
        let name = plain(name);
        let rules = self.settings.rules.iter().filter(|rule| plain(&rule.name) == name);
        let labels = rules.flat_map(|rule| &rule.labels).filter_map(|label| {
            let at = labels.iter().position(|known| *known == label.name)?;
            Some((at, &label.regex))
        });
        let rewrites = labels.flat_map(|(at, expressions)| {
            // One that is none was refused when the Configuration was read.
            let made = move |(by, text): (&String, &String)| Some((at, expression(text).ok()?, by.clone()));
            expressions.iter().filter_map(made)
        });
        rewrites.collect()
    }
}

/// A metric's name as rules may spell it: as it is exported, or as Dapr's own views are called.
fn plain(name: &str) -> String {
    let name = name.strip_prefix("dapr_").unwrap_or(name);
    name.replace(['/', '.'], "_")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_rewrite_the_labels_they_name() {
        let rule = |name: &str| {
            json!({ "name": name, "labels": [
                { "name": "path", "regex": { "/orders/_$1": "/orders/[0-9]+(x?)", "ignored": "" } },
                { "name": "none", "regex": { "x": ".*" } } ] })
        };
        for name in ["dapr_http_server_request_count", "http/server/request_count"] {
            let rules = vec![serde_json::from_value(rule(name)).expect("sound")];
            let mut settings = MetricsSettings {
                rules,
                ..MetricsSettings::default()
            };
            settings.rules[0].labels[0].regex.remove("ignored");
            let registry = Registry::new();
            let maker = Maker::new(&registry, &settings);
            let counts = maker.counts("dapr_http_server_request_count", "h", &["app_id", "path"]);
            counts.with(&["a", "/orders/1x"]).inc();
            counts.with(&["a", "/orders/2x"]).inc();
            counts.with(&["a", ""]).inc();
            assert_eq!(counts.with(&["a", "/orders/3x"]).get(), 2);
            assert_eq!(counts.value(1, "/orders/77"), "/orders/_");
            let other = maker.counts("dapr_http_server_latency", "h", &["app_id", "path"]);
            assert_eq!(other.value(1, "/orders/77"), "/orders/77");
        }
    }
}
