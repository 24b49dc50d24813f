//! The connection to the broker, and what comes by it.
//!
//! One idea: one task drives the connection for as long as the component is open: it connects again when it was lost, later
//! and later, subscribes again where the broker has forgotten, and hands over what arrives once there is room. A message is
//! acknowledged on the connection that it came by, or not at all: the broker sends it again. Must never acknowledge what was
//! not handled.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palladium_component::pubsub::{Message, Outcome, Supply};
use palladium_tasks::{Backoff, Shutdown, Tasks};
use rumqttc::{AsyncClient, Event, EventLoop, Packet, Publish, QoS};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::topics::Topics;
use crate::room::Room;

/// Messages that are not acknowledged, of all subscriptions.
const UNDER_WAY: usize = 1000;
/// How long messages under way may take after a subscription has ended.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// A message that came.
pub(super) struct Arrived {
    pub(super) message: Message,
    publish: Publish,
    /// The connection that it came by.
    connection: u64,
    _share: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

/// The client and its subscriptions.
pub(super) struct Session {
    pub(super) client: AsyncClient,
    pub(super) qos: QoS,
    topics: Mutex<Topics>,
    connection: AtomicU64,
    places: Arc<Semaphore>,
    room: Room,
    /// How often a message is tried again; `None` = for ever.
    retries: Option<u32>,
}

impl Session {
    pub(super) fn new(client: AsyncClient, qos: QoS, retries: Option<u32>) -> Self {
        Session {
            client,
            qos,
            retries,
            topics: Mutex::default(),
            connection: AtomicU64::new(1),
            places: Arc::new(Semaphore::new(UNDER_WAY)),
            room: Room::default(),
        }
    }

    /// A panic under this lock leaves lists that are still whole.
    pub(super) fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drives the connection until `stop`, then says goodbye. It is connected already.
    pub(super) async fn drive(self: Arc<Self>, mut events: EventLoop, stop: Shutdown, ended: Shutdown) {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(20));
        // What was settled by then is acknowledged before the goodbye, which `stop` alone does not wait for.
        while let Some(event) = ended.unless(events.poll()).await {
            match event {
                Ok(Event::Incoming(Packet::ConnAck(answer))) => {
                    backoff.reset();
                    self.connected(answer.session_present).await;
                }
                Ok(Event::Incoming(Packet::Publish(publish))) if !stop.is_triggered() => {
                    let _ = ended.unless(self.arrived(publish)).await;
                }
                Ok(_) => {}
                Err(error) => {
                    let pause = backoff.next_delay();
                    tracing::warn!(?pause, "the connection to the broker is lost: {error}");
                    let _ = ended.unless(sleep(pause)).await;
                }
            }
        }
        let goodbye = async {
            if self.client.try_disconnect().is_ok() {
                while events.poll().await.is_ok() {}
            }
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }

    async fn connected(&self, session_present: bool) {
        self.connection.fetch_add(1, Ordering::SeqCst);
        tracing::info!(session_present, "connected to the broker again");
        let all = {
            let mut topics = self.topics();
            topics.forget_waiting();
            topics.all()
        };
        if session_present {
            return;
        }
        for filter in all {
            // There is room for as many as the queue of requests holds; this task empties it.
            if let Err(error) = self.client.try_subscribe(filter.clone(), self.qos) {
                tracing::error!(filter, "cannot subscribe again: {error}");
            }
        }
    }

    /// Takes one message in, waiting for room: meanwhile nothing is read, and the broker waits.
    async fn arrived(&self, publish: Publish) {
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        let message = Message {
            topic,
            data: publish.payload.clone(),
            metadata: [("retained".to_owned(), publish.retain.to_string())].into(),
            content_type: None,
        };
        let place = self.places.clone().acquire_owned().await.ok();
        let share = self.room.take(&message).await;
        let arrived = Arrived {
            message,
            publish,
            connection: self.connection.load(Ordering::SeqCst),
            _share: place.zip(share),
        };
        self.topics().give(arrived);
    }

    async fn acknowledge(&self, arrived: Arrived) {
        if arrived.connection != self.connection.load(Ordering::SeqCst) {
            tracing::debug!("a message was handled after its connection was lost: it comes again");
            return;
        }
        let Some(acknowledgement) = self.client.prepare_ack(&arrived.publish) else {
            return;
        };
        // Room for the next ones is made first: nothing is sent while the connection waits for room.
        drop(arrived);
        if let Err(error) = self.client.manual_ack(acknowledgement).await {
            tracing::warn!("a message cannot be acknowledged and comes again: {error}");
        }
    }

    /// Hands the messages of one subscription over, until nobody receives any more.
    pub(super) async fn hand_over(
        self: Arc<Self>,
        mut messages: mpsc::UnboundedReceiver<Arrived>,
        supply: Supply,
        stop: Shutdown,
    ) {
        let mut tasks = Tasks::new();
        loop {
            let arrived = tokio::select! {
                () = supply.unwanted() => break,
                () = stop.wait() => break,
                arrived = messages.recv() => arrived,
            };
            let Some(arrived) = arrived else {
                break;
            };
            let handed = tokio::select! {
                () = stop.wait() => break,
                handed = supply.deliver(arrived.message.clone()) => handed,
            };
            let Some(settled) = handed else {
                break;
            };
            let (session, supply) = (self.clone(), supply.clone());
            tasks.spawn("pubsub-mqtt-message", async move {
                let mut outcome = settled.outcome().await;
                let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
                let mut tries = 0;
                while outcome == Some(Outcome::Failed) {
                    if session.retries.is_some_and(|most| tries >= most) {
                        tracing::warn!("a message is given up until the next connection");
                        return;
                    }
                    tries += 1;
                    sleep(backoff.next_delay()).await;
                    let Some(settled) = supply.deliver(arrived.message.clone()).await else {
                        return;
                    };
                    outcome = settled.outcome().await;
                }
                // What nobody settled stays with the broker.
                if outcome == Some(Outcome::Done) {
                    session.acknowledge(arrived).await;
                }
            });
        }
        if let Err(overdue) = tasks.drain(DRAIN).await {
            tracing::warn!(%overdue, "messages stay with the broker");
        }
    }
}

#[cfg(test)]
pub(super) fn arrived(topic: &str) -> Arrived {
    Arrived {
        message: Message {
            topic: topic.to_owned(),
            ..Message::default()
        },
        publish: Publish::new(topic, QoS::AtLeastOnce, ""),
        connection: 1,
        _share: None,
    }
}
