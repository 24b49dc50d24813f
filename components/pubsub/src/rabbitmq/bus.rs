//! The opened component: publishing, and who owns the tasks that receive.
//!
//! One idea: what is published and what is received have a connection each, so that a server which takes no more messages
//! still takes acknowledgements. Must never publish a message again that the server may have.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::ShortString;
use palladium_component::metadata::time_to_live;
use palladium_component::pubsub::{Feature, Features, PubSub, PublishRequest, SubscribeRequest, Subscription, supply};
use palladium_component::{PubsubError, Reply};
use palladium_components_rabbitmq::{Fault, Intake, Link, Outlet, name, number, properties, said};
use palladium_tasks::{Shutdown, Tasks};

use super::Settings;
use super::receive::Receiver;
use super::topology::{self, Queue};

/// How long acknowledgements under way may take when the component is closed.
const DRAIN: Duration = Duration::from_millis(2500);
/// Messages that wait for the engine, of one subscription; the server sends no more than its prefetch count.
const AHEAD: usize = 16;

pub(super) struct Bus {
    settings: Arc<Settings>,
    sending: Arc<Link>,
    receiving: Arc<Link>,
    outlet: Outlet,
    stop: Shutdown,
    tasks: Mutex<Tasks>,
}

impl Bus {
    pub(super) fn new(settings: Settings, sending: Link, receiving: Link) -> Self {
        let sending = Arc::new(sending);
        Bus {
            outlet: Outlet::new(sending.clone(), settings.confirm),
            settings: Arc::new(settings),
            sending,
            receiving: Arc::new(receiving),
            stop: Shutdown::new(),
            tasks: Mutex::default(),
        }
    }

    /// A panic under this lock leaves a set that is still whole.
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, request: &PublishRequest) -> Result<(), Fault> {
        let topic = name(&request.topic, "the topic's name")?;
        let key = name(
            said(&request.metadata, "routingKey").unwrap_or_default(),
            "the routing key",
        )?;
        let properties = self.properties(request)?;
        let sent = self.send_once(&topic, &key, request, &properties).await;
        match sent {
            // Somebody deleted it since, perhaps the server itself: the message is nowhere.
            Err(fault) if fault.misses_exchange(&request.topic) => {
                self.outlet.forget(&request.topic);
                self.send_once(&topic, &key, request, &properties).await
            }
            sent => sent,
        }
    }

    async fn send_once(
        &self,
        topic: &ShortString,
        key: &ShortString,
        request: &PublishRequest,
        properties: &BasicProperties,
    ) -> Result<(), Fault> {
        let settings = &self.settings;
        let declare = async |channel: &lapin::Channel| topology::exchange(settings, topic, channel).await;
        self.outlet.once(&request.topic, declare).await?;
        self.outlet.send(topic, key, &request.data, properties).await
    }

    fn properties(&self, request: &PublishRequest) -> Result<BasicProperties, Fault> {
        // As in Dapr: what cannot be read is not there.
        let time = time_to_live(&request.metadata).unwrap_or_else(|wrong| {
            tracing::warn!(topic = request.topic, "ignored: {wrong}");
            None
        });
        let priority = number(&request.metadata, "priority").unwrap_or_else(|fault| {
            tracing::warn!(topic = request.topic, "ignored: {fault}");
            None
        });
        let made = properties(&request.metadata, "text/plain", time.or(self.settings.time_to_live))?;
        // Nothing said is no mode, as Go's client has it; servers refuse 0.
        let made = match self.settings.delivery_mode {
            0 => made,
            mode => made.with_delivery_mode(mode),
        };
        Ok(match priority {
            Some(priority) => made.with_priority(priority),
            None => made,
        })
    }

    async fn receive(&self, request: SubscribeRequest) -> Result<Subscription, Fault> {
        let queue = Queue::new(&self.settings, &request.topic, &request.metadata)?;
        let intake = Intake {
            link: self.receiving.clone(),
            queue: queue.name.clone(),
            prefetch: self.settings.prefetch,
            auto_ack: self.settings.auto_ack,
        };
        let (supply, subscription) = supply(AHEAD);
        let receiver = Receiver {
            settings: self.settings.clone(),
            topic: request.topic,
            queue,
            supply,
            stop: self.stop.clone(),
        };
        let receiving = intake.start(Arc::new(receiver)).await?;
        self.tasks().spawn("pubsub-rabbitmq", receiving);
        Ok(subscription)
    }
}

impl PubSub for Bus {
    fn features(&self) -> Features {
        Features::NONE.with(Feature::MessageTtl)
    }

    fn publish<'a>(&'a self, request: &'a PublishRequest) -> Reply<'a, (), PubsubError> {
        let sending = async {
            let sent = self.send(request).await;
            sent.map_err(|fault| fault.call("rabbitmq pub/sub: error from publish").into())
        };
        Reply::wait(self.stop.try_unless(sending, || PubsubError::Closed))
    }

    fn subscribe(&self, request: SubscribeRequest) -> Reply<'_, Subscription, PubsubError> {
        let receiving = async {
            let received = self.receive(request).await;
            received.map_err(|fault| fault.call("rabbitmq pub/sub: error from subscribe").into())
        };
        Reply::wait(self.stop.try_unless(receiving, || PubsubError::Closed))
    }

    fn ping(&self) -> Reply<'_, (), PubsubError> {
        Reply::wait(async {
            self.sending
                .ping()
                .await
                .map_err(|fault| fault.call("rabbitmq pub/sub: error from ping").into())
        })
    }

    fn close(&self) -> Reply<'_, (), PubsubError> {
        self.stop.trigger();
        let tasks = std::mem::take(&mut *self.tasks());
        Reply::wait(async move {
            // What is still under way stays with the server and comes again.
            if let Err(overdue) = tasks.drain(DRAIN).await {
                tracing::debug!(%overdue, "closed with messages under way");
            }
            tokio::join!(self.sending.close(), self.receiving.close());
            Ok(())
        })
    }
}
