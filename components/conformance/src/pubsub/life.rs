//! What becomes of messages and subscriptions that do not go well, and at the end.
//!
//! A durable broker under test is opened with a processing time and a redelivery interval below two seconds. Must never
//! let a broker that keeps nothing pass for a durable one.

use palladium_component::PubsubError;
use palladium_component::pubsub::Outcome;

use super::{Broker, next, nothing, subscribe, to};

/// A message that failed comes again from a durable broker, and never from another.
pub async fn a_failed_message_comes_again(broker: &Broker) {
    let component = (broker.open)("app").await;
    let mut subscription = subscribe(&component, "t").await;
    component.publish(&to("t", "x")).await.unwrap();
    next(&mut subscription).await.settle(Outcome::Failed);
    if !broker.durable {
        return nothing(&mut subscription).await;
    }
    let again = next(&mut subscription).await;
    assert_eq!(again.message.data, "x");
    again.settle(Outcome::Done);
}

/// A message that nobody settled comes again after a restart.
pub async fn an_unsettled_message_comes_again(broker: &Broker) {
    if !broker.durable {
        return;
    }
    let component = (broker.open)("app").await;
    let mut subscription = subscribe(&component, "t").await;
    for data in ["1", "2"] {
        component.publish(&to("t", data)).await.unwrap();
    }
    let held = next(&mut subscription).await;
    drop(subscription);
    component.close().await.unwrap();
    drop(held);
    let component = (broker.open)("app").await;
    let mut subscription = subscribe(&component, "t").await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let delivery = next(&mut subscription).await;
        seen.push(delivery.message.data.clone());
        delivery.settle(Outcome::Done);
    }
    seen.sort();
    assert_eq!(seen, ["1", "2"]);
}

/// What was settled does not come again, not even when the component is closed right after.
pub async fn what_is_settled_stays_settled(broker: &Broker) {
    let component = (broker.open)("app").await;
    let mut subscription = subscribe(&component, "t").await;
    component.publish(&to("t", "x")).await.unwrap();
    next(&mut subscription).await.settle(Outcome::Done);
    drop(subscription);
    component.close().await.unwrap();
    let component = (broker.open)("app").await;
    let mut subscription = subscribe(&component, "t").await;
    nothing(&mut subscription).await;
    // And not later, when it is looked for what was left behind.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    nothing(&mut subscription).await;
}

/// What was published before anybody subscribed is kept, or comes to nobody.
pub async fn before_the_first_subscriber(broker: &Broker) {
    let component = (broker.open)("app").await;
    component.publish(&to("t", "early")).await.unwrap();
    let mut subscription = subscribe(&component, "t").await;
    if !broker.keeps_early {
        return nothing(&mut subscription).await;
    }
    assert_eq!(next(&mut subscription).await.message.data, "early");
}

/// Who ends a subscription gets nothing more; the component goes on.
pub async fn an_ended_subscription(broker: &Broker) {
    let component = (broker.open)("app").await;
    let mut subscription = subscribe(&component, "t").await;
    component.publish(&to("t", "1")).await.unwrap();
    next(&mut subscription).await.settle(Outcome::Done);
    subscription.stop();
    while let Some(left) = subscription.next().await {
        left.settle(Outcome::Failed);
    }
    drop(subscription);
    let mut other = subscribe(&component, "other").await;
    component.publish(&to("other", "2")).await.unwrap();
    let delivery = next(&mut other).await;
    assert_eq!(delivery.message.data, "2");
    delivery.settle(Outcome::Done);
}

/// A closed component says so, and ends its subscriptions.
pub async fn after_closing(broker: &Broker) {
    let component = (broker.open)("app").await;
    let mut subscription = subscribe(&component, "t").await;
    component.close().await.unwrap();
    assert!(subscription.next().await.is_none());
    assert!(matches!(
        component.publish(&to("t", "x")).await,
        Err(PubsubError::Closed)
    ));
    assert!(matches!(
        component.subscribe(Default::default()).await,
        Err(PubsubError::Closed)
    ));
}

/// A component that was opened answers, and its features have names.
pub async fn ping_and_features(broker: &Broker) {
    let component = (broker.open)("app").await;
    component.ping().await.unwrap();
    assert!(component.features().names().iter().all(|name| !name.is_empty()));
}
