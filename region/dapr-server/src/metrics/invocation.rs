//! Calls between App IDs.
//!
//! One idea: the other App ID is a label, and a caller may name it, so only so many have one of their own. Must never count a
//! call of the own application, as Dapr does not.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use super::family::{Counts, Maker, Spreads, millis};
use super::words::{ByNumber, ByWord, OTHER, one_more};

/// App IDs that are told apart, in each direction.
const MOST_APP_IDS: usize = 200;
/// Statuses of one App ID that are told apart; an application may answer whatever it likes.
const MOST_STATUSES: usize = 64;

/// See the module.
pub struct InvocationMetrics {
    app_id: String,
    sent: Counts,
    received: Counts,
    answers_sent: Counts,
    answers_received: Counts,
    latency: Spreads,
    callees: ByWord<Callee>,
    callers: ByWord<Caller>,
    /// By whose word, and whether it was yes.
    judged: [[Counts; 2]; 2],
    strangers: ByWord<Stranger>,
}

/// A trust domain and namespace that calls come out of.
struct Stranger {
    labels: [String; 2],
    judged: [[OnceLock<IntCounter>; 2]; 2],
}

/// An App ID that is called.
struct Callee {
    name: String,
    sent: [IntCounter; 2],
    answers: ByNumber<(IntCounter, prometheus::Histogram)>,
    known: std::sync::atomic::AtomicUsize,
}

/// An App ID that calls.
struct Caller {
    name: String,
    received: IntCounter,
    answers: ByNumber<IntCounter>,
    known: std::sync::atomic::AtomicUsize,
}

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One message, one answer.
    Unary,
    /// Streams.
    Streaming,
}

const KINDS: [&str; 2] = ["unary", "streaming"];

impl InvocationMetrics {
    pub(super) fn new(app_id: &str, make: &Maker<'_>) -> Self {
        let judged = ["global", "app"].map(|whose| {
            ["blocked", "allowed"].map(|how| {
                let name = format!("dapr_runtime_acl_{whose}_policy_action_{how}_total");
                let labels = ["app_id", "namespace", "trustDomain"];
                make.counts(&name, "Calls that access control judged.", &labels)
            })
        });
        let name = |what: &str| format!("dapr_runtime_service_invocation_{what}");
        let counts = |what: &str, help: &str, labels: &[&str]| make.counts(&name(what), help, labels);
        Self {
            app_id: app_id.to_owned(),
            sent: counts(
                "req_sent_total",
                "Calls of other App IDs.",
                &["app_id", "dst_app_id", "type"],
            ),
            received: counts("req_recv_total", "Calls by other App IDs.", &["app_id", "src_app_id"]),
            answers_sent: counts(
                "res_sent_total",
                "Answers to other App IDs.",
                &["app_id", "dst_app_id", "status"],
            ),
            answers_received: counts(
                "res_recv_total",
                "Answers of other App IDs.",
                &["app_id", "src_app_id", "status", "type"],
            ),
            latency: make.latencies(
                &name("res_recv_latency_ms"),
                "Duration of calls of other App IDs in ms.",
                &["app_id", "src_app_id", "status"],
            ),
            callees: ByWord::new(MOST_APP_IDS),
            callers: ByWord::new(MOST_APP_IDS),
            judged,
            strangers: ByWord::new(MOST_APP_IDS),
        }
    }

    /// Access control judged a call out of a trust domain and namespace, by a policy for its App ID or by the one for all.
    pub fn judged(&self, domain: &str, namespace: &str, by_app: bool, allowed: bool) {
        let stranger = self.strangers.get(&format!("{domain}/{namespace}"), |word| {
            let labels = if word == OTHER {
                [word, word]
            } else {
                [namespace, domain]
            };
            Stranger {
                labels: labels.map(str::to_owned),
                judged: Default::default(),
            }
        });
        let (whose, how) = (usize::from(by_app), usize::from(allowed));
        let make = || {
            let [namespace, domain] = &stranger.labels;
            self.judged[whose][how].with(&[self.app_id.as_str(), namespace, domain])
        };
        stranger.judged[whose][how].get_or_init(make).inc();
    }

    /// A call goes out.
    pub fn sent(self: &Arc<Self>, callee: &str, kind: Kind) -> Sent {
        let made = self.callees.get(callee, |name| Callee {
            name: name.to_owned(),
            sent: KINDS.map(|kind| self.sent.with(&[self.app_id.as_str(), name, kind])),
            answers: ByNumber::default(),
            known: Default::default(),
        });
        made.sent[kind as usize].inc();
        Sent {
            all: self.clone(),
            callee: made,
            kind,
            start: Instant::now(),
        }
    }

    /// A call came in.
    pub fn received(self: &Arc<Self>, caller: &str) -> Received {
        let caller = if caller.is_empty() { "unknown" } else { caller };
        let made = self.callers.get(caller, |name| Caller {
            name: name.to_owned(),
            received: self.received.with(&[self.app_id.as_str(), name]),
            answers: ByNumber::default(),
            known: Default::default(),
        });
        made.received.inc();
        Received {
            all: self.clone(),
            caller: made,
        }
    }
}

/// A call that went out.
pub struct Sent {
    all: Arc<InvocationMetrics>,
    callee: Arc<Callee>,
    kind: Kind,
    start: Instant,
}

impl Sent {
    /// It was answered with this status of HTTP or gRPC.
    pub fn answered(&self, status: i32) {
        let Self { all, callee, kind, .. } = self;
        let make = |status: &str| {
            let labels = [all.app_id.as_str(), callee.name.as_str(), status, KINDS[*kind as usize]];
            (all.answers_received.with(&labels), all.latency.with(&labels[..3]))
        };
        let (number, room) = (number(status) << 1 | *kind as u32, || {
            one_more(&callee.known, MOST_STATUSES)
        });
        let (count, latency) = match callee.answers.get(number, room, || make(&status.to_string())) {
            Some(made) => (made.0.clone(), made.1.clone()),
            None => make(OTHER),
        };
        count.inc();
        latency.observe(millis(self.elapsed()));
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A call that came in.
pub struct Received {
    all: Arc<InvocationMetrics>,
    caller: Arc<Caller>,
}

impl Received {
    /// It was answered with this status of HTTP or gRPC.
    pub fn answered(&self, status: i32) {
        let Self { all, caller } = self;
        let make = |status: &str| all.answers_sent.with(&[all.app_id.as_str(), &caller.name, status]);
        let room = || one_more(&caller.known, MOST_STATUSES);
        match caller.answers.get(number(status), room, || make(&status.to_string())) {
            Some(count) => count.inc(),
            None => make(OTHER).inc(),
        }
    }
}

fn number(status: i32) -> u32 {
    u32::try_from(status).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, Registry, TextEncoder};

    use super::*;
    use crate::metrics::budget::CALLS;
    use crate::resources::MetricsSettings;

    #[test]
    fn both_sides_are_counted_and_bounded() {
        let (registry, settings) = (Registry::new(), MetricsSettings::default());
        let metrics = Arc::new(InvocationMetrics::new("a", &Maker::new(&registry, &settings, CALLS)));
        metrics.sent("b", Kind::Unary).answered(200);
        metrics.received("").answered(13);
        metrics.judged("d", "n", true, false);
        let sent = metrics.sent("c", Kind::Streaming);
        for status in 0..1000 {
            sent.answered(status);
        }
        for number in 0..1000 {
            drop(metrics.received(&number.to_string()));
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).expect("text");
        let text = String::from_utf8(text).expect("text");
        for line in [
            r#"dapr_runtime_service_invocation_req_sent_total{app_id="a",dst_app_id="b",type="unary"} 1"#,
            r#"dapr_runtime_service_invocation_res_recv_total{app_id="a",src_app_id="b",status="200",type="unary"} 1"#,
            r#"dapr_runtime_acl_app_policy_action_blocked_total{app_id="a",namespace="n",trustDomain="d"} 1"#,
            r#"dapr_runtime_service_invocation_res_sent_total{app_id="a",dst_app_id="unknown",status="13"} 1"#,
            r#"dapr_runtime_service_invocation_res_recv_total{app_id="a",src_app_id="c",status="other",type="streaming"} 936"#,
        ] {
            assert!(text.lines().any(|said| said == line), "{line}\n{text}");
        }
        let callers = text.matches("dapr_runtime_service_invocation_req_recv_total{").count();
        assert_eq!(callers, MOST_APP_IDS + 1);
    }
}
