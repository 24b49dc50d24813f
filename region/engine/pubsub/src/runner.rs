//! Between a driver's subscription and an application: read, route, deliver, settle.
//!
//! One idea: a message ends in exactly one of four ways. Handled: acknowledged. Dropped on purpose: acknowledged, after
//! its dead letter if there is a topic for that. Failed: its dead letter, or back to the broker. Cut off by our own end:
//! not settled at all, so that the broker keeps it. Must never settle before the application or the dead letter topic
//! has the message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use palladium_component::pubsub::{Delivery, Feature, Outcome, Subscription};
use palladium_tasks::{Shutdown, Tasks};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::batch::Batches;
use crate::bulk::BulkEvent;
use crate::condition::ConditionError;
use crate::{Event, Message, Metadata, PUBSUB_NAME, PublishRequest, PubsubComponent, Routes, Spec};

/// Messages of one subscription under way at a time, whatever the driver hands out.
const MOST_UNDER_WAY: usize = 1000;
/// How long messages under way may take when the subscription ends.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a dead letter may take.
const DEAD_LETTER: Duration = Duration::from_secs(30);

/// How an application is reached.
pub trait Deliver: Send + Sync + 'static {
    /// Hands over one event.
    fn deliver<'a>(&'a self, incoming: &'a Incoming) -> impl Future<Output = Verdict> + Send + 'a;

    /// Hands over many events of one path; one verdict for each, in their order.
    fn deliver_bulk<'a>(&'a self, bulk: &'a BulkEvent) -> impl Future<Output = Vec<Verdict>> + Send + 'a;

    /// Told how each message ended: `success`, `drop` or `retry`.
    fn ended(&self, _topic: &str, _how: &'static str, _elapsed: Duration) {}
}

/// One event on its way to the application.
#[derive(Debug)]
pub struct Incoming {
    /// The event.
    pub event: Event,
    /// Its topic.
    pub topic: String,
    /// Name of the component.
    pub pubsub: String,
    /// Where it goes.
    pub path: String,
    /// What travelled beside it.
    pub metadata: Metadata,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Handled.
    Success,
    /// Not wanted, not even again.
    Drop,
    /// Not handled; why, for people.
    Retry(String),
    /// Nobody was asked: the way to the application is ending.
    Closed,
}

impl Verdict {
    pub(crate) fn name(&self) -> Option<&'static str> {
        match self {
            Verdict::Success => Some("success"),
            Verdict::Drop => Some("drop"),
            Verdict::Retry(_) => Some("retry"),
            Verdict::Closed => None,
        }
    }
}

pub(crate) struct Worker<D> {
    pub(crate) component: Arc<PubsubComponent>,
    pub(crate) spec: Spec,
    pub(crate) routes: Arc<Routes>,
    pub(crate) deliver: D,
}

/// Delivers what a subscription brings, until it ends or `stop`; then lets what is under way finish.
///
/// # Errors
/// Before the first message, when a rule of the subscription cannot be compiled.
pub fn run<D: Deliver>(
    component: Arc<PubsubComponent>,
    spec: Spec,
    deliver: D,
    subscription: Subscription,
    stop: Shutdown,
) -> Result<impl Future<Output = ()> + Send + 'static, ConditionError> {
    let worker = Arc::new(Worker {
        routes: Arc::new(Routes::compile(&spec)?),
        component,
        spec,
        deliver,
    });
    Ok(async move {
        match worker.spec.bulk {
            None => one_by_one(&worker, subscription, &stop).await,
            Some(batching) => {
                let immediate = worker.component.features().has(Feature::BulkSubscribeImmediate);
                let mut batches = Batches::new(subscription, batching, immediate);
                while let Some(batch) = batches.next(&stop).await {
                    // A batch on its way is large, and would stand in the state of every subscription.
                    Box::pin(worker.handle_batch(batch)).await;
                }
            }
        }
    })
}

async fn one_by_one<D: Deliver>(worker: &Arc<Worker<D>>, mut subscription: Subscription, stop: &Shutdown) {
    let room = Arc::new(Semaphore::new(MOST_UNDER_WAY));
    let mut tasks = Tasks::new();
    while let Some(Some(delivery)) = stop.unless(subscription.next()).await {
        let Ok(place) = room.clone().acquire_owned().await else {
            break;
        };
        let worker = worker.clone();
        tasks.spawn("pubsub-delivery", async move {
            worker.handle(delivery).await;
            drop(place);
        });
    }
    drop(subscription);
    if let Err(overdue) = tasks.drain(DRAIN).await {
        tracing::warn!(%overdue, topic = worker.spec.topic, "messages stay with the broker");
    }
}

impl<D: Deliver> Worker<D> {
    async fn handle(&self, delivery: Delivery) {
        let start = Instant::now();
        let (mut message, settle) = delivery.into_parts();
        message
            .metadata
            .insert(PUBSUB_NAME.into(), self.component.name().into());
        if let Some(content_type) = &message.content_type {
            message.metadata.insert("content-type".into(), content_type.clone());
        }
        let verdict = self.judge(&message).await;
        if let Some(how) = verdict.name() {
            self.deliver
                .ended(self.component.at_home(&message.topic), how, start.elapsed());
        }
        if let Some(outcome) = self.outcome(verdict, message).await {
            settle.settle(outcome);
        }
    }

    /// What becomes of one message, the application's own word included.
    async fn judge(&self, message: &Message) -> Verdict {
        let topic = self.component.at_home(&message.topic);
        let (event, path) = match self.read(message, topic).await {
            Ok(found) => found,
            Err(verdict) => return verdict,
        };
        let incoming = Incoming {
            event,
            topic: topic.to_owned(),
            pubsub: self.component.name().to_owned(),
            path,
            metadata: message.metadata.clone(),
        };
        self.deliver.deliver(&incoming).await
    }

    /// The event in a message and where it goes, or what becomes of it without asking the application.
    pub(crate) async fn read(&self, message: &Message, topic: &str) -> Result<(Event, String), Verdict> {
        let retry = |reason: String| Verdict::Retry(reason);
        let raw = self.spec.is_raw().map_err(retry)?;
        let event = Event::read(message, raw, topic, self.component.name())
            .map_err(|error| Verdict::Retry(format!("error deserializing cloud event: {error}")))?;
        if event.has_expired() {
            tracing::warn!(
                topic,
                "dropping expired pub/sub event {:?}",
                event.text("id").unwrap_or_default()
            );
            return Err(Verdict::Drop);
        }
        match self.routes.of(event).await {
            Ok((event, Some(path))) => Ok((event, path)),
            Ok((event, None)) => {
                tracing::debug!(
                    topic,
                    "no matching route for event {:?}",
                    event.text("id").unwrap_or_default()
                );
                Err(Verdict::Drop)
            }
            Err(error) => Err(Verdict::Retry(format!("error finding matching route: {error}"))),
        }
    }

    /// What the broker is told; `None` = nothing.
    pub(crate) async fn outcome(&self, verdict: Verdict, message: Message) -> Option<Outcome> {
        let (pubsub, topic) = (self.component.name(), message.topic.clone());
        match verdict {
            Verdict::Closed => return None,
            Verdict::Success => return Some(Outcome::Done),
            Verdict::Drop if self.spec.dead_letter_topic.is_empty() => return Some(Outcome::Done),
            Verdict::Drop => {}
            Verdict::Retry(reason) => {
                tracing::warn!(pubsub, topic, "an event was not handled: {reason}");
                if self.spec.dead_letter_topic.is_empty() {
                    return Some(Outcome::Failed);
                }
            }
        }
        let letter = PublishRequest {
            topic: self.spec.dead_letter_topic.clone(),
            data: message.data,
            metadata: message.metadata,
            content_type: message.content_type,
        };
        let reason = match timeout(DEAD_LETTER, self.component.publish(letter)).await {
            Ok(Ok(())) => return Some(Outcome::Done),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {DEAD_LETTER:?}"),
        };
        tracing::error!(pubsub, topic, "error sending message to dead letter topic: {reason}");
        Some(Outcome::Failed)
    }
}

#[cfg(test)]
mod tests;
