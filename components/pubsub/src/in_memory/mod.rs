//! `pubsub.in-memory`: topics in this process, gone when it ends. For development and tests.
//!
//! The one idea: every subscription has a queue and a task that hands out one message, waits until it is settled, and
//! goes on; as in Dapr, a message that nobody subscribes to is gone, and one that failed is not delivered again. All
//! queues of a component share one budget of bytes: a publisher that is too fast waits, and is then refused. Must never
//! hold its lock while it waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palladium_component::pubsub::{
    Feature, Features, Message, Outcome, PubSub, PublishRequest, SubscribeRequest, Subscription, Supply, supply,
};
use palladium_component::{Hosted, OpenContext, OpenError, PubsubDriver, PubsubError, Reply, Status};
use palladium_tasks::Tasks;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// The driver.
pub const DRIVER: PubsubDriver = PubsubDriver {
    type_name: "pubsub.in-memory",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: Vec::new,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// Bytes of all messages that were published and not yet settled.
const BUDGET: usize = 64 << 20;
/// What the smallest message counts, so that the budget bounds their number too.
const LEAST: usize = 1024;
/// How long a publisher waits for room.
const PATIENCE: Duration = Duration::from_secs(10);

async fn open(_: OpenContext) -> Result<Arc<dyn PubSub>, OpenError> {
    Ok(Arc::new(Bus::new(BUDGET, PATIENCE)))
}

struct Bus {
    inner: Mutex<Inner>,
    budget: Arc<Semaphore>,
    bytes: usize,
    patience: Duration,
}

#[derive(Default)]
struct Inner {
    topics: Vec<Topic>,
    tasks: Tasks,
    closed: bool,
}

#[derive(Clone)]
struct Topic {
    pattern: String,
    queue: mpsc::UnboundedSender<Box<Queued>>,
}

/// A message and its share of the budget.
struct Queued {
    message: Message,
    _share: OwnedSemaphorePermit,
}

impl Bus {
    fn new(bytes: usize, patience: Duration) -> Self {
        Bus {
            inner: Mutex::default(),
            budget: Arc::new(Semaphore::new(bytes)),
            bytes,
            patience,
        }
    }

    /// A panic under this lock leaves a list that is still whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who wants a topic.
    fn wanted(&self, topic: &str) -> Result<Vec<Topic>, PubsubError> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(PubsubError::Closed);
        }
        inner.topics.retain(|topic| !topic.queue.is_closed());
        let wanted = inner.topics.iter().filter(|known| fits(&known.pattern, topic));
        Ok(wanted.cloned().collect())
    }

    /// What a message takes of the budget.
    fn size(&self, request: &PublishRequest) -> u32 {
        let beside: usize = request
            .metadata
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let whole = request
            .data
            .len()
            .saturating_add(beside)
            .saturating_add(request.topic.len());
        u32::try_from(whole.clamp(LEAST, self.bytes)).unwrap_or(u32::MAX)
    }

    /// Waits for room for those that had none.
    async fn send(&self, topics: Vec<Topic>, request: &PublishRequest) -> Result<(), PubsubError> {
        for topic in topics {
            let room = self.budget.clone().acquire_many_owned(self.size(request));
            match timeout(self.patience, room).await {
                Ok(Ok(share)) => topic.take(request, share),
                Ok(Err(_)) => return Err(PubsubError::Closed),
                Err(_) => {
                    let (topic, patience) = (&request.topic, self.patience);
                    return Err(PubsubError::Unavailable(format!(
                        "the subscribers of topic {topic} are too slow: no room within {patience:?}"
                    )));
                }
            }
        }
        Ok(())
    }
}

impl Topic {
    fn take(&self, request: &PublishRequest, share: OwnedSemaphorePermit) {
        // As in Dapr, the topic is the one that was subscribed to, also when that is a pattern.
        let message = Message {
            topic: self.pattern.clone(),
            data: request.data.clone(),
            metadata: request.metadata.clone(),
            content_type: None,
        };
        // A subscription that has just ended wants nothing any more.
        let _ = self.queue.send(Box::new(Queued { message, _share: share }));
    }
}

impl PubSub for Bus {
    fn features(&self) -> Features {
        Features::NONE.with(Feature::SubscribeWildcards)
    }

    fn publish<'a>(&'a self, request: &'a PublishRequest) -> Reply<'a, (), PubsubError> {
        let topics = match self.wanted(&request.topic) {
            Ok(topics) => topics,
            Err(error) => return Reply::ready(Err(error)),
        };
        // While there is room nobody waits.
        for (at, topic) in topics.iter().enumerate() {
            match self.budget.clone().try_acquire_many_owned(self.size(request)) {
                Ok(share) => topic.take(request, share),
                Err(_) => return Reply::wait(self.send(topics[at..].to_vec(), request)),
            }
        }
        Reply::ready(Ok(()))
    }

    fn subscribe(&self, request: SubscribeRequest) -> Reply<'_, Subscription, PubsubError> {
        let mut inner = self.lock();
        if inner.closed {
            return Reply::ready(Err(PubsubError::Closed));
        }
        let (supply, subscription) = supply(1);
        let (queue, queued) = mpsc::unbounded_channel();
        inner
            .tasks
            .spawn("pubsub-in-memory", hand_out(request.topic.clone(), queued, supply));
        inner.topics.push(Topic {
            pattern: request.topic,
            queue,
        });
        Reply::ready(Ok(subscription))
    }

    fn close(&self) -> Reply<'_, (), PubsubError> {
        let mut inner = self.lock();
        *inner = Inner {
            closed: true,
            ..Inner::default()
        };
        self.budget.close();
        Reply::ready(Ok(()))
    }
}

/// A star at the end of what was subscribed to stands for at least one character.
fn fits(pattern: &str, topic: &str) -> bool {
    pattern == topic
        || pattern
            .strip_suffix('*')
            .is_some_and(|prefix| topic.len() > prefix.len() && topic.starts_with(prefix))
}

/// One after the other, until nobody receives any more.
async fn hand_out(topic: String, mut queued: mpsc::UnboundedReceiver<Box<Queued>>, supply: Supply) {
    loop {
        let next = tokio::select! {
            next = queued.recv() => next,
            () = supply.unwanted() => None,
        };
        let Some(next) = next else { return };
        let Queued { message, _share } = *next;
        let Some(settled) = supply.deliver(message).await else {
            return;
        };
        if settled.outcome().await == Some(Outcome::Failed) {
            tracing::warn!(topic, "a message failed; in memory it is not delivered again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(topic: &str, data: &'static str) -> PublishRequest {
        PublishRequest {
            topic: topic.into(),
            data: data.into(),
            ..PublishRequest::default()
        }
    }

    async fn subscribe(bus: &Bus, topic: &str) -> Subscription {
        let request = SubscribeRequest {
            topic: topic.into(),
            ..SubscribeRequest::default()
        };
        bus.subscribe(request).await.unwrap()
    }

    #[test]
    fn a_star_needs_something_to_stand_for() {
        assert!(fits("a*", "ab") && fits("*", "a") && fits("a", "a") && fits("a*", "a*"));
        assert!(!fits("a*", "a") && !fits("a", "ab") && !fits("*", ""));
    }

    #[tokio::test]
    async fn one_message_at_a_time_and_in_order() {
        let bus = Bus::new(BUDGET, PATIENCE);
        let mut subscription = subscribe(&bus, "t").await;
        for data in ["1", "2"] {
            bus.publish(&request("t", data)).await.unwrap();
        }
        let first = subscription.next().await.unwrap();
        assert_eq!(first.message.data, "1");
        assert!(timeout(Duration::from_millis(50), subscription.next()).await.is_err());
        first.settle(Outcome::Failed);
        assert_eq!(subscription.next().await.unwrap().message.data, "2");
    }

    #[tokio::test]
    async fn a_publisher_waits_for_room_and_is_then_refused() {
        let bus = Bus::new(2 * LEAST, Duration::from_millis(50));
        let mut subscription = subscribe(&bus, "t").await;
        for _ in 0..2 {
            bus.publish(&request("t", "x")).await.unwrap();
        }
        assert!(matches!(
            bus.publish(&request("t", "x")).await,
            Err(PubsubError::Unavailable(_))
        ));
        subscription.next().await.unwrap().settle(Outcome::Done);
        bus.publish(&request("t", "x")).await.unwrap();
        // What nobody wants needs no room.
        bus.publish(&request("other", "x")).await.unwrap();
    }

    #[tokio::test]
    async fn an_ended_subscription_gives_its_room_back() {
        let bus = Bus::new(LEAST, Duration::from_secs(5));
        let subscription = subscribe(&bus, "t").await;
        bus.publish(&request("t", "x")).await.unwrap();
        drop(subscription);
        let mut other = subscribe(&bus, "t").await;
        bus.publish(&request("t", "y")).await.unwrap();
        assert_eq!(other.next().await.unwrap().message.data, "y");
    }

    #[tokio::test]
    async fn nothing_goes_through_a_closed_bus() {
        let bus = Bus::new(BUDGET, PATIENCE);
        let mut subscription = subscribe(&bus, "t").await;
        bus.close().await.unwrap();
        assert!(subscription.next().await.is_none());
        assert!(matches!(
            bus.publish(&request("t", "x")).await,
            Err(PubsubError::Closed)
        ));
    }
}
