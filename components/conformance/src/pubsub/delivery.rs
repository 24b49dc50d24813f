//! What is published arrives, as it was, where it should and nowhere else.
//!
//! Must never take a delivery for granted: every wait has an end, and every "nothing comes" is waited for.

use std::collections::BTreeSet;

use palladium_component::pubsub::Outcome;

use super::{Broker, next, nothing, subscribe, to};

/// One message, one delivery.
pub async fn what_is_published_arrives(broker: &Broker) {
    let component = (broker.open)("app").await;
    let mut subscription = subscribe(&component, "topic").await;
    component.publish(&to("topic", "hello")).await.unwrap();
    let delivery = next(&mut subscription).await;
    assert_eq!(
        (delivery.message.data.as_ref(), delivery.message.topic.as_str()),
        (&b"hello"[..], "topic")
    );
    delivery.settle(Outcome::Done);
    nothing(&mut subscription).await;
}

/// Data is opaque; metadata travels beside it.
pub async fn every_byte_and_metadata(broker: &Broker) {
    let component = (broker.open)("app").await;
    let mut subscription = subscribe(&component, "topic").await;
    let every: Vec<u8> = (0..=255).collect();
    for data in [every, Vec::new(), "ünï\0\r\n".into()] {
        let mut request = to("topic", &data);
        request.metadata.insert("Key".into(), "välue \"quoted\"".into());
        component.publish(&request).await.unwrap();
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.message.data, data);
        assert_eq!(
            delivery.message.metadata.get("Key").map(String::as_str),
            broker.carries_metadata.then_some("välue \"quoted\"")
        );
        delivery.settle(Outcome::Done);
    }
}

/// As large as a Dapr Server takes them.
pub async fn large_messages(broker: &Broker) {
    let component = (broker.open)("app").await;
    let mut subscription = subscribe(&component, "topic").await;
    let data = vec![7; 4 << 20];
    component.publish(&to("topic", &data)).await.unwrap();
    let delivery = next(&mut subscription).await;
    assert!(delivery.message.data == data);
    delivery.settle(Outcome::Done);
}

/// A topic is its whole name.
pub async fn topics_are_apart(broker: &Broker) {
    let component = (broker.open)("app").await;
    let named = |parts: &[&str]| parts.join(&broker.separator.to_string());
    let (short, long, upper) = (named(&["a", "b"]), named(&["a", "b", "c"]), named(&["A", "B"]));
    let mut one = subscribe(&component, &short).await;
    let mut other = subscribe(&component, &long).await;
    component.publish(&to(&short, "1")).await.unwrap();
    component.publish(&to(&long, "2")).await.unwrap();
    component.publish(&to(&upper, "3")).await.unwrap();
    for (subscription, data) in [(&mut one, "1"), (&mut other, "2")] {
        let delivery = next(subscription).await;
        assert_eq!(delivery.message.data, data);
        delivery.settle(Outcome::Done);
        nothing(subscription).await;
    }
}

/// Every App ID that subscribes gets every message. A component without a broker of its own is one process's.
pub async fn every_app_gets_its_copy(broker: &Broker) {
    let publisher = (broker.open)("publisher").await;
    if !broker.durable {
        let (mut one, mut other) = (subscribe(&publisher, "t").await, subscribe(&publisher, "t").await);
        publisher.publish(&to("t", "x")).await.unwrap();
        for subscription in [&mut one, &mut other] {
            assert_eq!(next(subscription).await.message.data, "x");
        }
        return;
    }
    let (one, other) = ((broker.open)("one").await, (broker.open)("other").await);
    let (mut at_one, mut at_other) = (subscribe(&one, "t").await, subscribe(&other, "t").await);
    publisher.publish(&to("t", "x")).await.unwrap();
    for subscription in [&mut at_one, &mut at_other] {
        let delivery = next(subscription).await;
        assert_eq!(delivery.message.data, "x");
        delivery.settle(Outcome::Done);
        nothing(subscription).await;
    }
}

/// Two of the same App ID share: each message goes to one of them.
pub async fn subscribers_of_one_app_share(broker: &Broker) {
    if !broker.shares {
        return;
    }
    let (one, other) = ((broker.open)("app").await, (broker.open)("app").await);
    let (mut at_one, mut at_other) = (subscribe(&one, "t").await, subscribe(&other, "t").await);
    let mut seen = BTreeSet::new();
    for number in 0..50 {
        one.publish(&to("t", number.to_string())).await.unwrap();
    }
    while seen.len() < 50 {
        let delivery = tokio::select! {
            delivery = next(&mut at_one) => delivery,
            delivery = next(&mut at_other) => delivery,
        };
        assert!(seen.insert(delivery.message.data.clone()), "doubled");
        delivery.settle(Outcome::Done);
    }
    nothing(&mut at_one).await;
    nothing(&mut at_other).await;
}

/// Many at a time.
pub async fn no_message_is_lost_or_doubled(broker: &Broker) {
    const COUNT: usize = 500;
    let component = (broker.open)("app").await;
    let mut subscription = subscribe(&component, "t").await;
    let publisher = component.clone();
    let publishing = tokio::spawn(async move {
        for number in 0..COUNT {
            publisher.publish(&to("t", number.to_string())).await.unwrap();
        }
    });
    let mut seen = BTreeSet::new();
    while seen.len() < COUNT {
        let delivery = next(&mut subscription).await;
        assert!(seen.insert(delivery.message.data.clone()), "doubled");
        delivery.settle(Outcome::Done);
    }
    publishing.await.unwrap();
    nothing(&mut subscription).await;
}
