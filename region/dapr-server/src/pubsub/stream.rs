//! Streaming subscriptions: the caller opens a stream and receives in it.
//!
//! One idea: a stream is a subscription whose application is at the other end of it; it lives as long as the stream, needs
//! no application port, and no health. An answer names its event by the event's id and nothing else, so events of one id are
//! under way one after the other. When the stream ends, what the caller has not answered stays with the broker. At the
//! end of the process messages under way may still be answered. Must never deliver before the caller was told that the
//! subscription stands.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use palladium_engine_pubsub::{ApiError, BulkEvent, Deliver, Incoming, Spec, Verdict, run};
use palladium_engine_resiliency::ComponentKind;
use palladium_proto::runtime::subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Asked;
use palladium_proto::runtime::subscribe_topic_events_response_alpha1::SubscribeTopicEventsResponseType as Told;
use palladium_proto::runtime::{
    SubscribeTopicEventsRequestAlpha1, SubscribeTopicEventsRequestInitialAlpha1, SubscribeTopicEventsResponseAlpha1,
    SubscribeTopicEventsResponseInitialAlpha1,
};
use palladium_tasks::{Shutdown, Tasks};
use tokio::sync::{OwnedMutexGuard, mpsc, oneshot};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::deliver::{event_request, verdict};
use super::{PubsubEntry, publish};
use crate::errors::pubsub_grpc;
use crate::resiliency::{Policies, delivered};
use crate::server::Server;

/// How long the first message and the message bus may take.
const START: Duration = Duration::from_secs(30);
/// Messages on their way into the stream.
const AHEAD: usize = 16;

type Sent = Result<SubscribeTopicEventsResponseAlpha1, Status>;

/// What the caller receives. Dropping it ends the subscription.
pub struct Events {
    receiver: mpsc::Receiver<Sent>,
    _tasks: Tasks,
}

impl Stream for Events {
    type Item = Sent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Sent>> {
        self.receiver.poll_recv(cx)
    }
}

/// Serves one stream.
///
/// # Errors
/// When the first message is no request, or the subscription is refused.
pub async fn serve(
    server: Arc<Server>,
    mut asked: Streaming<SubscribeTopicEventsRequestAlpha1>,
) -> Result<Events, Status> {
    let first = server.shutdown.unless(timeout(START, asked.message())).await;
    let first = first.ok_or_else(|| Status::unavailable("api server closed"))?;
    let first = first.map_err(|_| Status::deadline_exceeded("no initial request came"))??;
    let kind = first.and_then(|first| first.subscribe_topic_events_request_type);
    let Some(Asked::InitialRequest(request)) = kind else {
        return Err(Status::unknown("initial request is required"));
    };
    let spec = spec(request)?;
    let entry = publish::find(&server, &spec.pubsub, &spec.topic).map_err(|error| pubsub_grpc(&server, &error))?;
    let subscription = timeout(START, entry.component.subscribe(&spec))
        .await
        .map_err(|_| Status::deadline_exceeded("the message bus did not answer in time"))?
        .map_err(|error| refused(&spec, &error))?;

    let (sender, receiver) = mpsc::channel(AHEAD);
    let caller = Arc::new(Caller {
        sender: sender.clone(),
        waiting: Mutex::default(),
        gone: Shutdown::new(),
        metrics: entry.clone(),
    });
    // There is room: nothing was sent yet.
    let initial = Told::InitialResponse(SubscribeTopicEventsResponseInitialAlpha1 {});
    let _ = sender.try_send(Ok(message(initial)));
    let stop = server.shutdown.child();
    let running = run(
        entry.component.clone(),
        spec.clone(),
        ToCaller(caller.clone(), server.resiliency.clone()),
        subscription,
        stop.clone(),
    )
    .map_err(|error| Status::invalid_argument(error.to_string()))?;
    let mut tasks = Tasks::new();
    tasks.spawn("pubsub-stream", async move {
        let listed = server.subscriptions.stream(spec);
        let end = tokio::select! {
            // What is under way has been answered, or nobody will.
            () = running => Some(Status::unavailable("stream closed")),
            end = caller.listen(asked) => end,
        };
        caller.gone.trigger();
        drop(listed);
        if let Some(status) = end {
            let _ = sender.send(Err(status)).await;
        }
    });
    Ok(Events {
        receiver,
        _tasks: tasks,
    })
}

fn spec(request: SubscribeTopicEventsRequestInitialAlpha1) -> Result<Spec, Status> {
    if request.pubsub_name.is_empty() {
        return Err(Status::unknown("pubsubName is required"));
    }
    if request.topic.is_empty() {
        return Err(Status::unknown("topic is required"));
    }
    Ok(Spec {
        pubsub: request.pubsub_name,
        topic: request.topic,
        metadata: request.metadata.into_iter().collect(),
        rules: vec![(String::new(), "/".to_owned())],
        dead_letter_topic: request.dead_letter_topic.unwrap_or_default(),
        bulk: None,
    })
}

fn refused(spec: &Spec, error: &ApiError) -> Status {
    let Spec { pubsub, topic, .. } = spec;
    let reason = match error {
        ApiError::Forbidden { .. } => format!("subscription to topic '{topic}' on pubsub '{pubsub}' is not allowed"),
        other => other.to_string(),
    };
    Status::unknown(format!("failed to create subscription for {pubsub}: {reason}"))
}

fn message(told: Told) -> SubscribeTopicEventsResponseAlpha1 {
    SubscribeTopicEventsResponseAlpha1 {
        subscribe_topic_events_response_type: Some(told),
    }
}

/// The other end of the stream.
struct Caller {
    sender: mpsc::Sender<Sent>,
    /// By the event's id, for each that is under way.
    waiting: Mutex<HashMap<String, Waiting>>,
    /// Nobody will answer any more.
    gone: Shutdown,
    metrics: Arc<PubsubEntry>,
}

impl Caller {
    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other event of this id is under way; `None` when the stream has ended.
    async fn turn(&self, id: &str) -> Option<Turn<'_>> {
        let turns = {
            let mut waiting = self.waiting();
            let waiting = waiting.entry(id.to_owned()).or_default();
            waiting.count += 1;
            waiting.turns.clone()
        };
        let mut turn = Turn {
            caller: self,
            id: id.to_owned(),
            mine: None,
        };
        turn.mine = Some(self.gone.unless(turns.lock_owned()).await?);
        Some(turn)
    }

    /// Tells whoever waits what the caller answered about an event; nobody may.
    fn answered(&self, id: &str, status: i32) {
        let answer = self.waiting().get_mut(id).and_then(|waiting| waiting.answer.take());
        if let Some(answer) = answer {
            // One that was given up hears nothing.
            let _ = answer.send(status);
        }
    }

    /// Takes answers until the caller ends its side. The status, if any, is what the caller is told at the end.
    async fn listen(&self, mut asked: Streaming<SubscribeTopicEventsRequestAlpha1>) -> Option<Status> {
        loop {
            let next = match asked.message().await {
                Ok(Some(next)) => next.subscribe_topic_events_request_type,
                Ok(None) => return None,
                Err(status) => return Some(status),
            };
            let Some(Asked::EventProcessed(processed)) = next else {
                return Some(Status::unknown("duplicate initial request received"));
            };
            let status = processed.status.unwrap_or_default().status;
            self.answered(&processed.id, status);
        }
    }
}

/// An id of which events are under way or wait for their turn.
#[derive(Default)]
struct Waiting {
    /// How many.
    count: usize,
    turns: Arc<tokio::sync::Mutex<()>>,
    /// For the one whose turn it is.
    answer: Option<oneshot::Sender<i32>>,
}

/// A place among the events of one id.
struct Turn<'a> {
    caller: &'a Caller,
    id: String,
    /// Given when it is this one's turn; let go last.
    mine: Option<OwnedMutexGuard<()>>,
}

impl Turn<'_> {
    /// What the caller will answer.
    fn answer(&self) -> oneshot::Receiver<i32> {
        let (sender, receiver) = oneshot::channel();
        if let Some(waiting) = self.caller.waiting().get_mut(&self.id) {
            waiting.answer = Some(sender);
        }
        receiver
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut all = self.caller.waiting();
        let Some(waiting) = all.get_mut(&self.id) else { return };
        waiting.count -= 1;
        if self.mine.is_some() {
            waiting.answer = None;
        }
        if waiting.count == 0 {
            all.remove(&self.id);
        }
    }
}

struct ToCaller(Arc<Caller>, Policies);

impl ToCaller {
    async fn one(&self, incoming: &Incoming) -> Verdict {
        let caller = &self.0;
        let request = match event_request(incoming) {
            Ok(request) => request,
            Err(reason) => return Verdict::Retry(reason),
        };
        let Some(turn) = caller.turn(&request.id).await else {
            return Verdict::Closed;
        };
        let answer = turn.answer();
        if caller
            .sender
            .send(Ok(message(Told::EventMessage(request))))
            .await
            .is_err()
        {
            return Verdict::Closed;
        }
        match caller.gone.unless(answer).await {
            Some(Ok(status)) => verdict(status),
            _ => Verdict::Closed,
        }
    }
}

impl Deliver for ToCaller {
    async fn deliver(&self, incoming: &Incoming) -> Verdict {
        let policy = self.1.inbound(&incoming.pubsub, ComponentKind::Pubsub);
        delivered(&policy, || self.one(incoming)).await
    }

    async fn deliver_bulk(&self, bulk: &BulkEvent) -> Vec<Verdict> {
        // A stream never asks for batches.
        vec![Verdict::Closed; bulk.entries.len()]
    }

    fn ended(&self, topic: &str, how: &'static str, elapsed: Duration) {
        self.0.metrics.metrics.ingress(topic, how, elapsed);
    }
}

#[cfg(test)]
mod tests;
