//! The opened component: publishing, subscribing, and who owns the tasks.
//!
//! One idea: a message is published when the broker has answered as its quality of service asks. Must never publish a message
//! again by itself once the connection that it went by has a successor which knows nothing of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palladium_component::metadata::go_bool;
use palladium_component::pubsub::{
    Feature, Features, Metadata, PubSub, PublishRequest, SubscribeRequest, Subscription, supply,
};
use palladium_component::{PubsubError, Reply};
use palladium_tasks::{Shutdown, Tasks};
use rumqttc::{ClientError, EventLoop, PublishOptions, SubscribeReasonCode};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::session::Session;

/// How long the broker may take for an answer, as in Dapr.
const ANSWER: Duration = Duration::from_secs(20);
/// How long acknowledgements under way may take when the component is closed.
const DRAIN: Duration = Duration::from_millis(1500);
/// How long the connection may take to end.
const GOODBYE: Duration = Duration::from_secs(3);
/// Messages that wait for the engine, of one subscription.
const AHEAD: usize = 16;

pub(super) struct Bus {
    session: Arc<Session>,
    retain: bool,
    clean: bool,
    stop: Shutdown,
    /// Ends the connection, once what was settled is acknowledged.
    ended: Shutdown,
    subscriptions: Mutex<Tasks>,
    driver: Mutex<Tasks>,
}

/// A panic under this lock leaves a set that is still whole.
fn lock(tasks: &Mutex<Tasks>) -> MutexGuard<'_, Tasks> {
    tasks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a request says yes to a name; `None` = it says nothing.
fn truth(metadata: &Metadata, name: &str) -> Result<Option<bool>, PubsubError> {
    let Some(said) = metadata.get(name).filter(|said| !said.is_empty()) else {
        return Ok(None);
    };
    let wrong = || PubsubError::Invalid(format!("mqtt invalid {name} {said}: write true or false"));
    go_bool(said).map(Some).ok_or_else(wrong)
}

impl Bus {
    pub(super) fn new(session: Session, events: EventLoop, retain: bool, clean: bool) -> Self {
        let session = Arc::new(session);
        let (stop, ended) = (Shutdown::new(), Shutdown::new());
        let mut driver = Tasks::new();
        driver.spawn(
            "pubsub-mqtt",
            session.clone().drive(events, stop.clone(), ended.clone()),
        );
        Bus {
            session,
            retain,
            clean,
            stop,
            ended,
            subscriptions: Mutex::default(),
            driver: Mutex::new(driver),
        }
    }

    async fn send(&self, request: &PublishRequest) -> Result<(), PubsubError> {
        if request.topic.is_empty() {
            return Err(PubsubError::Invalid("topic name is empty".into()));
        }
        let retain = truth(&request.metadata, "retain")?.unwrap_or(self.retain);
        let options = PublishOptions::new(self.session.qos).retain(retain);
        let sending = async {
            let sent = self
                .session
                .client
                .publish_tracked(request.topic.clone(), request.data.clone(), options);
            let notice = sent.await.map_err(refused)?;
            notice
                .wait_completion_async()
                .await
                .map_err(|error| failed("publish", &error.to_string()))
        };
        timeout(ANSWER, sending).await.unwrap_or_else(|_| Err(late("publish")))
    }

    async fn receive(&self, request: SubscribeRequest) -> Result<Subscription, PubsubError> {
        let filter = request.topic;
        if filter.is_empty() {
            return Err(PubsubError::Invalid("topic name is empty".into()));
        }
        let forget = self.clean || truth(&request.metadata, "unsubscribeOnClose")?.unwrap_or(false);
        let (sender, messages) = mpsc::unbounded_channel();
        // Before the broker knows of it: its first messages come with its answer.
        self.session.topics().add(&filter, sender);
        if let Err(error) = self.ask_for(&filter).await {
            self.session.topics().remove(&filter);
            return Err(error);
        }
        let (supply, subscription) = supply(AHEAD);
        let (session, stop) = (self.session.clone(), self.stop.clone());
        lock(&self.subscriptions).spawn("pubsub-mqtt-subscription", async move {
            session.clone().hand_over(messages, supply, stop.clone()).await;
            session.topics().remove(&filter);
            // Otherwise the broker keeps what comes for whoever subscribes again.
            if forget && !stop.is_triggered() {
                let _ = timeout(ANSWER, session.client.unsubscribe(filter)).await;
            }
        });
        Ok(subscription)
    }

    async fn ask_for(&self, filter: &str) -> Result<(), PubsubError> {
        let asking = async {
            let asked = self
                .session
                .client
                .subscribe_tracked(filter.to_owned(), self.session.qos);
            let answer = asked.await.map_err(refused)?.wait_async().await;
            answer.map_err(|error| failed("subscribe", &error.to_string()))
        };
        let answer = timeout(ANSWER, asking)
            .await
            .unwrap_or_else(|_| Err(late("subscribe")))?;
        match answer.return_codes.contains(&SubscribeReasonCode::Failure) {
            true => Err(PubsubError::Other(
                "mqtt: error from subscribe: the broker refuses the topic".into(),
            )),
            false => Ok(()),
        }
    }
}

fn failed(what: &str, reason: &str) -> PubsubError {
    PubsubError::Unavailable(format!("mqtt: error from {what}: {reason}"))
}

fn late(what: &str) -> PubsubError {
    failed(what, &format!("no answer of the broker within {ANSWER:?}"))
}

fn refused(error: ClientError) -> PubsubError {
    match error {
        ClientError::InvalidRequest(_) => PubsubError::Invalid("mqtt: this is not a topic of MQTT".into()),
        ClientError::RequestChannelDisconnected(_) => PubsubError::Closed,
        other => failed("the client", &other.to_string()),
    }
}

impl PubSub for Bus {
    fn features(&self) -> Features {
        Features::NONE.with(Feature::SubscribeWildcards)
    }

    fn publish<'a>(&'a self, request: &'a PublishRequest) -> Reply<'a, (), PubsubError> {
        Reply::wait(self.stop.try_unless(self.send(request), || PubsubError::Closed))
    }

    fn subscribe(&self, request: SubscribeRequest) -> Reply<'_, Subscription, PubsubError> {
        Reply::wait(self.stop.try_unless(self.receive(request), || PubsubError::Closed))
    }

    fn close(&self) -> Reply<'_, (), PubsubError> {
        self.stop.trigger();
        let subscriptions = std::mem::take(&mut *lock(&self.subscriptions));
        let driver = std::mem::take(&mut *lock(&self.driver));
        Reply::wait(async move {
            // What is still under way stays with the broker and comes again.
            if let Err(overdue) = subscriptions.drain(DRAIN).await {
                tracing::debug!(%overdue, "closed with messages under way");
            }
            self.ended.trigger();
            if let Err(overdue) = driver.drain(GOODBYE).await {
                tracing::debug!(%overdue, "closed without a goodbye");
            }
            Ok(())
        })
    }
}
