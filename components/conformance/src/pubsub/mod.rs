//! The suite of publish/subscribe components.
//!
//! A driver's test file names its backend and gets one test per case: `palladium_conformance::pubsub_suite!(backend);`.
//! One idea: one suite for all; what components are allowed to differ in is a field of [`Broker`]. Must never import a
//! driver, or ask which one it is testing.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use palladium_component::PubSub;
use palladium_component::pubsub::{Delivery, Outcome, PublishRequest, SubscribeRequest, Subscription};
use palladium_component::reply::BoxFuture;
use tokio::time::{sleep, timeout};

pub mod delivery;
pub mod life;

/// How long a message may take, either way.
const PATIENCE: Duration = Duration::from_secs(60);

/// One component under test.
pub struct Broker {
    /// Opens the component for an App ID; a second time on the same broker.
    pub open: Box<dyn Fn(&'static str) -> BoxFuture<'static, Arc<dyn PubSub>> + Send + Sync>,
    /// Whether messages outlive the component: what nobody has acknowledged comes again.
    pub durable: bool,
    /// Whether what was published before anybody subscribed is kept.
    pub keeps_early: bool,
    /// Whether a message's metadata arrives with it.
    pub carries_metadata: bool,
    /// Whether components that were opened for the same App ID share its messages.
    pub shares: bool,
    /// What stands between the parts of a topic's name; not every broker takes every character.
    pub separator: char,
    /// What has to live as long as the test: servers.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl Broker {
    /// A broker that keeps what it is given.
    pub fn new(open: impl Fn(&'static str) -> BoxFuture<'static, Arc<dyn PubSub>> + Send + Sync + 'static) -> Self {
        Broker {
            open: Box::new(open),
            durable: true,
            keeps_early: true,
            carries_metadata: true,
            shares: true,
            separator: '/',
            keep: Box::new(()),
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

/// A message for a topic, with metadata.
pub fn message(topic: &str, data: impl AsRef<[u8]>, metadata: &[(&str, &str)]) -> PublishRequest {
    PublishRequest {
        topic: topic.into(),
        data: data.as_ref().to_vec().into(),
        metadata: metadata
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        ..PublishRequest::default()
    }
}

/// A message for a topic.
fn to(topic: &str, data: impl AsRef<[u8]>) -> PublishRequest {
    message(topic, data, &[])
}

/// A subscription of a topic.
pub async fn subscribe(component: &Arc<dyn PubSub>, topic: &str) -> Subscription {
    let request = SubscribeRequest {
        topic: topic.into(),
        ..SubscribeRequest::default()
    };
    component.subscribe(request).await.unwrap()
}

/// Publishes again and again until the broker says that it has the message: for brokers that come and go.
///
/// # Panics
/// When it does not say so in time.
pub async fn publish_until_taken<T, E, F>(publish: impl Fn() -> F)
where
    E: fmt::Debug,
    F: Future<Output = Result<T, E>>,
{
    let mut last = None;
    let trying = async {
        while let Err(error) = publish().await {
            last = Some(error);
            sleep(Duration::from_millis(50)).await;
        }
    };
    let taken = timeout(PATIENCE, trying).await;
    assert!(taken.is_ok(), "not taken within {PATIENCE:?}: {last:?}");
}

/// The next message, in time.
///
/// # Panics
/// When none comes, or the subscription ends.
pub async fn next(subscription: &mut Subscription) -> Delivery {
    let next = timeout(PATIENCE, subscription.next()).await;
    next.expect("a message in time").expect("the subscription goes on")
}

/// Settles what comes as done, until one message with this content was.
///
/// # Panics
/// As [`next`].
pub async fn done_until(subscription: &mut Subscription, data: &str) {
    loop {
        let delivery = next(subscription).await;
        let is_it = delivery.message.data == data;
        delivery.settle(Outcome::Done);
        if is_it {
            return;
        }
    }
}

/// Nothing comes for a while.
pub async fn nothing(subscription: &mut Subscription) {
    let next = timeout(Duration::from_millis(300), subscription.next()).await;
    assert!(next.is_err(), "{next:?}");
}

/// Makes one test per case of the suite; `pubsub_suite!(backend, in turn)` makes one test of all, for servers that take
/// seconds to start: it asks for a backend as often as there are cases.
#[macro_export]
macro_rules! pubsub_suite {
    ($broker:path $(, in $turn:ident)?) => {
        $crate::pubsub_suite!($($turn)? $broker:
            delivery::what_is_published_arrives, delivery::every_byte_and_metadata, delivery::large_messages,
            delivery::topics_are_apart, delivery::every_app_gets_its_copy, delivery::subscribers_of_one_app_share,
            delivery::no_message_is_lost_or_doubled,
            life::a_failed_message_comes_again, life::an_unsettled_message_comes_again,
            life::what_is_settled_stays_settled, life::before_the_first_subscriber, life::an_ended_subscription,
            life::after_closing, life::ping_and_features
        );
    };
    (turn $broker:path: $($module:ident::$case:ident),+) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn every_case_in_turn() {
            let mut brokers = $broker().await;
            $(
                // The last line before a failure.
                eprintln!("{}", stringify!($case));
                let broker = brokers.next().expect("a broker for each case");
                $crate::pubsub::$module::$case(&broker).await;
            )+
        }
    };
    ($broker:path: $($module:ident::$case:ident),+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let broker = $broker().await;
            $crate::pubsub::$module::$case(&broker).await;
        }
    )+};
}
