//! Streaming subscriptions: the caller opens a stream and receives in it.
//!
//! One idea: a stream is a subscription whose application is at the other end of it; it lives as long as the stream, needs
//! no application port, and no health. When the stream ends, what the caller has not answered stays with the broker. At the
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
use tokio::sync::{mpsc, oneshot};
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
    /// Who waits for an answer, by the event's id; the same event may be under way twice.
    waiting: Mutex<HashMap<String, Vec<oneshot::Sender<i32>>>>,
    /// Nobody will answer any more.
    gone: Shutdown,
    metrics: Arc<PubsubEntry>,
}

impl Caller {
    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Vec<oneshot::Sender<i32>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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
            let mut waiting = self.waiting();
            if let Some(senders) = waiting.get_mut(&processed.id) {
                // An attempt that was given up takes no answer from the one that followed it.
                senders.retain(|sender| !sender.is_closed());
                let status = processed.status.unwrap_or_default().status;
                if !senders.is_empty() {
                    let _ = senders.remove(0).send(status);
                }
                if senders.is_empty() {
                    waiting.remove(&processed.id);
                }
            }
        }
    }
}

/// Takes whoever waits no more for an event's answer off the list.
struct Waiter<'a>(&'a Caller, String);

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        if let Some(senders) = waiting.get_mut(&self.1) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&self.1);
            }
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
        // Dropped after the receiver, also when this attempt is given up.
        let _waiter = Waiter(caller, request.id.clone());
        let (sender, receiver) = oneshot::channel();
        caller.waiting().entry(request.id.clone()).or_default().push(sender);
        if caller
            .sender
            .send(Ok(message(Told::EventMessage(request))))
            .await
            .is_err()
        {
            return Verdict::Closed;
        }
        match caller.gone.unless(receiver).await {
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
