//! Delivery to the application by calls to it, in the protocol that it speaks.
//!
//! One idea: what the application answers becomes a verdict here and nowhere else; a way that cannot be gone is a reason to
//! try again. Must never read a failure of the way as the application's word.

mod grpc;
mod http;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palladium_engine_pubsub::{BulkEvent, Deliver, Event, Incoming, Verdict};
use palladium_engine_resiliency::ComponentKind;
use tokio::time::timeout;

pub(super) use grpc::{event_request, verdict};

use super::PubsubEntry;
use crate::app_channel::AppChannel;
use crate::resiliency::{Policies, Said, delivered, told};
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
        let policy = self.policies.inbound(&bulk.pubsub, ComponentKind::Pubsub);
        if policy.is_empty() {
            return self.bulk_once(bulk).await;
        }
        let verdicts = Mutex::new(vec![None; bulk.entries.len()]);
        let shared = &verdicts;
        let last = told(&policy, move || async move {
            let left = left(&lock(shared));
            let answers = if left.len() == bulk.entries.len() {
                self.bulk_once(bulk).await
            } else {
                self.bulk_once(&bulk.part(&left)).await
            };
            let mut verdicts = lock(shared);
            for (at, answer) in left.into_iter().zip(answers) {
                verdicts[at] = Some(answer);
            }
            let failed = verdicts.iter().flatten().find_map(|verdict| match verdict {
                Verdict::Retry(words) => Some(words.clone()),
                _ => None,
            });
            failed.map_or(Ok(()), |words| Err(Said::words(words)))
        });
        let words = last.await.map_or_else(|said| said.words, |()| String::new());
        let verdicts = verdicts.into_inner().unwrap_or_else(PoisonError::into_inner);
        // What no attempt got an answer for failed as the last one did.
        let or_last = |verdict: Option<Verdict>| verdict.unwrap_or_else(|| Verdict::Retry(words.clone()));
        verdicts.into_iter().map(or_last).collect()
    }

    fn ended(&self, topic: &str, how: &'static str, elapsed: Duration) {
        self.entry.metrics.ingress(topic, how, elapsed);
    }
}

impl ToApplication {
    async fn bulk_once(&self, bulk: &BulkEvent) -> Vec<Verdict> {
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
}

/// Which events of a delivery are still to be handled.
fn left(verdicts: &[Option<Verdict>]) -> Vec<usize> {
    let is_left = |verdict: &Option<Verdict>| matches!(verdict, None | Some(Verdict::Retry(_)));
    let all = verdicts.iter().enumerate();
    all.filter(|(_, verdict)| is_left(verdict)).map(|(at, _)| at).collect()
}

fn lock(verdicts: &Mutex<Vec<Option<Verdict>>>) -> MutexGuard<'_, Vec<Option<Verdict>>> {
    verdicts.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests;
