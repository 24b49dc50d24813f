//! Families of metrics with their labels.
//!
//! One idea: whoever counts per call asks here once for what it counts with; all that is decided of labels is decided by the
//! family's shape then, so that counting stays an addition. Policies and probes, which are rarer, ask each time. Must never
//! make a family whose labels could not be written: names are this program's own words.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::budget::Budget;
use super::shape::Shape;
use crate::resources::MetricsSettings;

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

/// Counters of one name.
#[derive(Clone)]
pub struct Counts {
    vec: IntCounterVec,
    shape: Arc<Shape>,
}

impl Counts {
    /// The counter with these labels.
    pub fn with(&self, labels: &[&str]) -> IntCounter {
        self.shape.series(labels, |labels| self.vec.with_label_values(labels))
    }

    /// What a rule makes of one label's value.
    pub fn value<'a>(&self, label: usize, value: &'a str) -> Cow<'a, str> {
        self.shape.value(label, value)
    }
}

/// Gauges of one name.
#[derive(Clone)]
pub struct Gauges {
    vec: IntGaugeVec,
    shape: Arc<Shape>,
}

impl Gauges {
    /// The gauge with these labels. Where words have given way, several share one, and it holds what was set last.
    pub fn with(&self, labels: &[&str]) -> IntGauge {
        self.shape.series(labels, |labels| self.vec.with_label_values(labels))
    }
}

/// Histograms of one name.
#[derive(Clone)]
pub struct Spreads {
    vec: HistogramVec,
    shape: Arc<Shape>,
}

impl Spreads {
    /// The histogram with these labels.
    pub fn with(&self, labels: &[&str]) -> Histogram {
        self.shape.series(labels, |labels| self.vec.with_label_values(labels))
    }

    /// What a rule makes of one label's value.
    pub fn value<'a>(&self, label: usize, value: &'a str) -> Cow<'a, str> {
        self.shape.value(label, value)
    }
}

/// Makes families in one registry.
pub struct Maker<'a> {
    registry: &'a Registry,
    settings: &'a MetricsSettings,
    budget: Arc<Budget>,
}

impl<'a> Maker<'a> {
    /// `most`: bytes of the page for all series of all its families.
    pub(super) fn new(registry: &'a Registry, settings: &'a MetricsSettings, most: usize) -> Self {
        let budget = Arc::new(Budget::new(most));
        Self {
            registry,
            settings,
            budget,
        }
    }

    /// Counters.
    pub fn counts(&self, name: &str, help: &str, labels: &[&str]) -> Counts {
        Counts {
            vec: self.add(IntCounterVec::new(Opts::new(name, help), labels)),
            shape: self.shape(name, labels, 1, 0),
        }
    }

    /// Gauges.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Gauges {
        Gauges {
            vec: self.add(IntGaugeVec::new(Opts::new(name, help), labels)),
            shape: self.shape(name, labels, 1, 0),
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
        let bounds = buckets.iter().map(|bound| bound.to_string().len()).sum();
        Spreads {
            vec: self.add(HistogramVec::new(options, labels)),
            // The last bucket, the sum and the count have lines as well.
            shape: self.shape(name, labels, buckets.len() + 3, bounds),
        }
    }

    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("invariant: names and labels of this program are well formed");
        self.registry
            .register(Box::new(collector.clone()))
            .expect("invariant: each name is registered once");
        collector
    }

    fn shape(&self, name: &str, labels: &[&str], lines: usize, bounds: usize) -> Arc<Shape> {
        let (rules, budget) = (&self.settings.rules, self.budget.clone());
        Arc::new(Shape::new(name, labels, (lines, bounds), rules, budget))
    }
}
