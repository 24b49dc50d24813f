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
use palladium_component::pubsub::{Delivery, PublishRequest, SubscribeRequest, Subscription};
use palladium_component::reply::BoxFuture;
use tokio::time::timeout;

pub mod delivery;
pub mod life;

/// One component under test.
pub struct Broker {
    /// Opens the component for an App ID; a second time on the same broker.
    pub open: Box<dyn Fn(&'static str) -> BoxFuture<'static, Arc<dyn PubSub>> + Send + Sync>,
    /// Whether messages outlive the component: what nobody has acknowledged comes again, what came early is kept.
    pub durable: bool,
    /// What has to live as long as the test: servers.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl Broker {
    /// A broker that keeps what it is given.
    pub fn new(open: impl Fn(&'static str) -> BoxFuture<'static, Arc<dyn PubSub>> + Send + Sync + 'static) -> Self {
        Broker {
            open: Box::new(open),
            durable: true,
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

/// A message for a topic.
fn to(topic: &str, data: impl AsRef<[u8]>) -> PublishRequest {
    PublishRequest {
        topic: topic.into(),
        data: data.as_ref().to_vec().into(),
        ..PublishRequest::default()
    }
}

async fn subscribe(component: &Arc<dyn PubSub>, topic: &str) -> Subscription {
    let request = SubscribeRequest {
        topic: topic.into(),
        ..SubscribeRequest::default()
    };
    component.subscribe(request).await.unwrap()
}

/// The next message, in time.
async fn next(subscription: &mut Subscription) -> Delivery {
    let next = timeout(Duration::from_secs(20), subscription.next()).await;
    next.expect("a message in time").expect("the subscription goes on")
}

/// Nothing comes for a while.
async fn nothing(subscription: &mut Subscription) {
    let next = timeout(Duration::from_millis(300), subscription.next()).await;
    assert!(next.is_err(), "{next:?}");
}

/// Makes one test per case of the suite.
#[macro_export]
macro_rules! pubsub_suite {
    ($broker:path) => {
        $crate::pubsub_suite!($broker:
            delivery::what_is_published_arrives, delivery::every_byte_and_metadata, delivery::large_messages,
            delivery::topics_are_apart, delivery::every_app_gets_its_copy, delivery::subscribers_of_one_app_share,
            delivery::no_message_is_lost_or_doubled,
            life::a_failed_message_comes_again, life::an_unsettled_message_comes_again,
            life::what_is_settled_stays_settled, life::before_the_first_subscriber, life::an_ended_subscription,
            life::after_closing, life::ping_and_features
        );
    };
    ($broker:path: $($module:ident::$case:ident),+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let broker = $broker().await;
            $crate::pubsub::$module::$case(&broker).await;
        }
    )+};
}
