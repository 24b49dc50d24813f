//! Delivery to the application by calls to it, in the protocol that it speaks.
//!
//! One idea: what the application answers becomes a verdict here and nowhere else; a way that cannot be gone is a reason to
//! try again. Must never read a failure of the way as the application's word.

mod grpc;
mod http;

use std::sync::Arc;
use std::time::Duration;

use palladium_engine_pubsub::{BulkEvent, Deliver, Event, Incoming, Verdict};
use palladium_engine_resiliency::ComponentKind;
use tokio::time::timeout;

pub(super) use grpc::{event_request, verdict};

use super::PubsubEntry;
use crate::app_channel::AppChannel;
use crate::resiliency::{Policies, delivered};
use crate::trace::{About, Kind, Span};

/// How long the application may take for one delivery.
const PATIENCE: Duration = Duration::from_secs(300);

/// Delivers to one application.
pub(super) struct ToApplication {
    pub(super) app: Arc<AppChannel>,
    pub(super) entry: Arc<PubsubEntry>,
    pub(super) policies: Policies,
}

impl Deliver for ToApplication {
    async fn deliver(&self, incoming: &Incoming) -> Verdict {
        let policy = self.policies.inbound(&incoming.pubsub, ComponentKind::Pubsub);
        let attempt = || async {
            let delivered = async {
                if self.app.speaks_grpc() {
                    grpc::one(&self.app, incoming).await
                } else {
                    http::one(&self.app, incoming).await
                }
            };
            timeout(PATIENCE, delivered).await.unwrap_or_else(|_| late())
        };
        delivered(&policy, attempt).await
    }

    async fn deliver_bulk(&self, bulk: &BulkEvent) -> Vec<Verdict> {
        let delivered = async {
            if self.app.speaks_grpc() {
                grpc::many(&self.app, bulk).await
            } else {
                http::many(&self.app, bulk).await
            }
        };
        timeout(PATIENCE, delivered)
            .await
            .unwrap_or_else(|_| all(bulk, &late()))
    }

    fn ended(&self, topic: &str, how: &'static str, elapsed: Duration) {
        self.entry.metrics.ingress(topic, how, elapsed);
    }
}

/// An application that takes an event and is silent keeps its place no longer than this.
fn late() -> Verdict {
    Verdict::Retry("no answer from the application in time".to_owned())
}

/// Where an event says that it stands in a trace; `None` when it says nothing.
fn traceparent(event: &Event) -> Option<String> {
    event.text("traceparent").or_else(|| event.text("traceid"))
}

/// The span of a delivery of an event that says where it stands; `None` where calls are not traced.
fn span(app: &AppChannel, incoming: &Incoming, parent: &str) -> Option<Span> {
    let tracer = app.tracer()?;
    let state = incoming.event.text("tracestate").unwrap_or_default();
    let mut span = tracer.below(format!("pubsub/{}", incoming.topic), Kind::Client, parent, &state);
    if span.is_seen() {
        let about = About::default();
        about.messaged(&incoming.topic);
        span.tell(Some(&about));
    }
    Some(span)
}

/// The same verdict for every event of a delivery.
fn all(bulk: &BulkEvent, verdict: &Verdict) -> Vec<Verdict> {
    vec![verdict.clone(); bulk.entries.len()]
}
