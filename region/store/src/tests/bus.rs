//! Managed publish/subscribe through the real driver, over real mutual TLS, against the real store: the suite, and what is
//! peculiar to it: order, isolation, bounds, restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palladium_component::pubsub::{BulkEntry, BulkPublishRequest, Delivery, Outcome, SubscribeRequest, Subscription};
use palladium_component::{PubSub, PubsubError};
use palladium_conformance::pubsub::{Broker, message as to, nothing};
use palladium_proto::region::ManagedComponent;
use tokio::time::timeout;

use super::world::{World, open_bus};
use super::{bus, component};
use crate::rows::BusLimits;

const FAST: &[(&str, &str)] = &[("redeliverInterval", "300ms")];
const SOON: Duration = Duration::from_secs(20);

async fn broker() -> Broker {
    let apps = ["app", "one", "other", "publisher"];
    let world = World::with(&[bus("prj-a", "uid-1", "pubsub", &apps)]).await;
    let dials: BTreeMap<_, _> = apps.map(|app| (app, world.dial(&format!("/ns/prj-a/{app}")))).into();
    let open = move |app: &'static str| {
        let dial = dials[app].clone();
        Box::pin(async move { open_bus(dial, "pubsub", FAST).await.unwrap() }) as _
    };
    Broker {
        keep: Box::new(world),
        ..Broker::new(open)
    }
}

mod conformance {
    use super::*;

    palladium_conformance::pubsub_suite!(broker);
}

pub(super) async fn subscribe(bus: &Arc<dyn PubSub>, topic: &str) -> Result<Subscription, PubsubError> {
    let request = SubscribeRequest {
        topic: topic.into(),
        ..SubscribeRequest::default()
    };
    bus.subscribe(request).await
}

pub(super) async fn next(subscription: &mut Subscription) -> Delivery {
    let next = timeout(SOON, subscription.next()).await;
    next.expect("a message in time").expect("the subscription goes on")
}

/// The next message's data; it is handled.
async fn handled(subscription: &mut Subscription) -> String {
    let delivery = next(subscription).await;
    let text = text(&delivery);
    delivery.settle(Outcome::Done);
    text
}

pub(super) fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.data.to_vec()).unwrap()
}

async fn opened(world: &World, path: &str) -> Arc<dyn PubSub> {
    open_bus(world.dial(path), "pubsub", FAST).await.unwrap()
}

fn refused<T>(outcome: Result<T, impl ToString>) -> String {
    outcome.err().expect("refused").to_string()
}

/// A message of a key is out alone; one that fails holds up its key and nobody else.
#[tokio::test]
async fn messages_of_one_key_come_in_their_order() {
    let world = World::with(&[bus("prj-a", "uid-1", "pubsub", &["orders"])]).await;
    let component = opened(&world, "/ns/prj-a/orders").await;
    let mut subscription = subscribe(&component, "t").await.unwrap();
    for number in 0..20 {
        for key in ["a", "b"] {
            let request = to("t", format!("{key}{number}"), &[("partitionKey", key)]);
            component.publish(&request).await.unwrap();
        }
    }
    let (mut seen, mut failed) = (BTreeMap::<char, Vec<usize>>::new(), 0);
    while seen.values().map(Vec::len).sum::<usize>() < 40 {
        let delivery = next(&mut subscription).await;
        let text = text(&delivery);
        if text == "a3" && failed < 2 {
            failed += 1;
            delivery.settle(Outcome::Failed);
            continue;
        }
        seen.entry(text.chars().next().unwrap())
            .or_default()
            .push(text[1..].parse().unwrap());
        delivery.settle(Outcome::Done);
    }
    let in_order: Vec<usize> = (0..20).collect();
    assert_eq!((&seen[&'a'], &seen[&'b'], failed), (&in_order, &in_order, 2));
    nothing(&mut subscription).await;
}

#[tokio::test]
async fn a_caller_is_its_certificate_and_nothing_else() {
    let components = [
        bus("prj-a", "uid-a", "pubsub", &["orders", "stock"]),
        bus("prj-b", "uid-b", "pubsub", &["orders"]),
        component("prj-a", "uid-s", "kvstore", &["orders"]),
    ];
    let world = World::with(&components).await;
    let (a, stock, b) = (
        opened(&world, "/ns/prj-a/orders").await,
        opened(&world, "/ns/prj-a/stock").await,
        opened(&world, "/ns/prj-b/orders").await,
    );
    let mut at_a = subscribe(&a, "t").await.unwrap();
    let mut at_stock = subscribe(&stock, "t").await.unwrap();
    let mut at_b = subscribe(&b, "t").await.unwrap();
    a.publish(&to("t", "of a", &[])).await.unwrap();
    for subscription in [&mut at_a, &mut at_stock] {
        let delivery = next(subscription).await;
        assert_eq!(text(&delivery), "of a");
        delivery.settle(Outcome::Done);
    }
    nothing(&mut at_b).await;
    b.publish(&to("t", "of b", &[])).await.unwrap();
    assert_eq!(handled(&mut at_b).await, "of b");
    nothing(&mut at_a).await;
    for (path, name) in [
        ("/ns/prj-a/web", "pubsub"),
        ("/ns/prj-a/orders", "other"),
        ("/ns/prj-a/orders", "kvstore"),
        ("/ns/prj-c/orders", "pubsub"),
    ] {
        let message = refused(open_bus(world.dial(path), name, FAST).await);
        assert!(
            message.contains("no such managed component"),
            "{path} {name}: {message}"
        );
    }
    let message = refused(world.try_open("/ns/prj-a/orders", "pubsub").await);
    assert!(
        message.contains("no such managed component"),
        "messages are no state: {message}"
    );
    // Platform roles and strangers do not get as far as a request.
    for path in ["/ns/palladium/gateway", "/ns/palladium/agent", "/ns/default/orders"] {
        let message = refused(open_bus(world.dial(path), "pubsub", FAST).await);
        assert!(!message.contains("no such managed component"), "{path}: {message}");
    }
}

/// Who receives under which name is the table's word, not the caller's.
#[tokio::test]
async fn a_caller_cannot_receive_under_another_ones_name() {
    let shared = ManagedComponent {
        consumer_id: "shared".into(),
        ..bus("prj-a", "uid-2", "shared", &["orders", "stock"])
    };
    let odd = ManagedComponent {
        consumer_id: "{uuid}".into(),
        ..bus("prj-a", "uid-3", "odd", &["orders"])
    };
    let own = bus("prj-a", "uid-1", "pubsub", &["orders", "stock"]);
    let world = World::with(&[own, shared, odd]).await;
    // What a Dapr Server has in its metadata says nothing to the store.
    let claims = &[("consumerID", "orders")];
    let stock = open_bus(world.dial("/ns/prj-a/stock"), "pubsub", claims).await.unwrap();
    let orders = opened(&world, "/ns/prj-a/orders").await;
    let (mut at_stock, mut at_orders) = (
        subscribe(&stock, "t").await.unwrap(),
        subscribe(&orders, "t").await.unwrap(),
    );
    orders.publish(&to("t", "x", &[])).await.unwrap();
    for subscription in [&mut at_stock, &mut at_orders] {
        next(subscription).await.settle(Outcome::Done);
    }
    // One group, as the component says: one of the two gets it.
    let dial = |app: &str| world.dial(&format!("/ns/prj-a/{app}"));
    let (one, other) = (
        open_bus(dial("orders"), "shared", FAST).await.unwrap(),
        open_bus(dial("stock"), "shared", FAST).await.unwrap(),
    );
    let (mut at_one, mut at_other) = (
        subscribe(&one, "t").await.unwrap(),
        subscribe(&other, "t").await.unwrap(),
    );
    one.publish(&to("t", "x", &[])).await.unwrap();
    let mut rest = tokio::select! {
        delivery = next(&mut at_one) => { delivery.settle(Outcome::Done); at_other }
        delivery = next(&mut at_other) => { delivery.settle(Outcome::Done); at_one }
    };
    nothing(&mut rest).await;
    let message = refused(open_bus(dial("orders"), "odd", FAST).await);
    assert!(message.contains("consumerID"), "{message}");
}

#[tokio::test]
async fn a_consumer_that_vanishes_leaves_its_messages_to_another() {
    let world = World::with(&[bus("prj-a", "uid-1", "pubsub", &["orders"])]).await;
    let (one, other) = (
        opened(&world, "/ns/prj-a/orders").await,
        opened(&world, "/ns/prj-a/orders").await,
    );
    let mut at_one = subscribe(&one, "t").await.unwrap();
    one.publish(&to("t", "x", &[("partitionKey", "k")])).await.unwrap();
    let held = next(&mut at_one).await;
    let mut at_other = subscribe(&other, "t").await.unwrap();
    nothing(&mut at_other).await;
    // All of it at once, as when its process ends: nobody says a word.
    drop((at_one, one));
    let delivery = next(&mut at_other).await;
    assert_eq!(text(&delivery), "x");
    delivery.settle(Outcome::Done);
    held.settle(Outcome::Done);
    nothing(&mut at_other).await;
}

#[tokio::test]
async fn a_restart_loses_nothing_and_repeats_nothing_that_is_under_way() {
    let mut world = World::with(&[bus("prj-a", "uid-1", "pubsub", &["orders"])]).await;
    let way = super::killed::Way::new(&world, "/ns/prj-a/orders", world.address());
    let component = open_bus(way.clone(), "pubsub", FAST).await.unwrap();
    let mut subscription = subscribe(&component, "t").await.unwrap();
    for data in ["1", "2", "3"] {
        component.publish(&to("t", data, &[])).await.unwrap();
    }
    let (first, second) = (next(&mut subscription).await, next(&mut subscription).await);
    world.stop().await;
    first.settle(Outcome::Done);
    world.start().await;
    way.is_now_at(world.address());
    // The second is still under way, the first was handled meanwhile: neither comes again.
    assert_eq!(handled(&mut subscription).await, "3");
    component.publish(&to("t", "4", &[])).await.unwrap();
    assert_eq!(handled(&mut subscription).await, "4");
    second.settle(Outcome::Done);
    nothing(&mut subscription).await;
}

#[tokio::test]
async fn what_was_not_settled_comes_after_a_restart_to_whoever_asks() {
    let mut world = World::with(&[bus("prj-a", "uid-1", "pubsub", &["orders"])]).await;
    let component = opened(&world, "/ns/prj-a/orders").await;
    let mut subscription = subscribe(&component, "t").await.unwrap();
    component.publish(&to("t", "x", &[])).await.unwrap();
    let held = next(&mut subscription).await;
    world.stop().await;
    world.start().await;
    let component = opened(&world, "/ns/prj-a/orders").await;
    let mut subscription = subscribe(&component, "t").await.unwrap();
    let delivery = next(&mut subscription).await;
    assert_eq!(text(&delivery), "x");
    drop(held);
}

#[tokio::test]
async fn a_new_group_begins_where_the_component_says() {
    let world = World::with(&[bus("prj-a", "uid-1", "pubsub", &["orders", "stock"])]).await;
    let orders = opened(&world, "/ns/prj-a/orders").await;
    orders.publish(&to("t", "early", &[])).await.unwrap();
    let newest = &[("initialOffset", "newest")];
    let stock = open_bus(world.dial("/ns/prj-a/stock"), "pubsub", newest).await.unwrap();
    let mut at_stock = subscribe(&stock, "t").await.unwrap();
    nothing(&mut at_stock).await;
    let mut at_orders = subscribe(&orders, "t").await.unwrap();
    assert_eq!(handled(&mut at_orders).await, "early");
    orders.publish(&to("t", "late", &[])).await.unwrap();
    assert_eq!(handled(&mut at_stock).await, "late");
}

#[tokio::test]
async fn a_full_topic_refuses_and_many_are_told_which() {
    let mut world = World::new();
    world.bus = BusLimits {
        topic_messages: 5,
        ..BusLimits::default()
    };
    world.write_table(&[bus("prj-a", "uid-1", "pubsub", &["orders"])], &[]);
    world.start().await;
    let component = opened(&world, "/ns/prj-a/orders").await;
    let entries = (0..8).map(|number| BulkEntry {
        entry_id: format!("e{number}"),
        event: number.to_string().into(),
        ..BulkEntry::default()
    });
    let request = BulkPublishRequest {
        topic: "t".into(),
        entries: entries.collect(),
        ..BulkPublishRequest::default()
    };
    let failures = component.bulk_publish(&request).await.unwrap();
    let ids: Vec<_> = failures.iter().map(|failure| failure.entry_id.as_str()).collect();
    assert_eq!(ids, ["e5", "e6", "e7"]);
    let error = component.publish(&to("t", "x", &[])).await.unwrap_err();
    let PubsubError::Remote(remote) = &error else {
        panic!("{error}")
    };
    assert_eq!(remote.grpc_code, tonic::Code::ResourceExhausted as u32);
    assert!(
        error.to_string().contains("the topic is full: it keeps 5 messages"),
        "{error}"
    );
    // What is handled makes room.
    let mut subscription = subscribe(&component, "t").await.unwrap();
    for number in 0..5 {
        let delivery = next(&mut subscription).await;
        assert_eq!(text(&delivery), number.to_string());
        delivery.settle(Outcome::Done);
    }
    let started = Instant::now();
    while let Err(error) = component.publish(&to("t", "y", &[])).await {
        assert!(started.elapsed() < SOON, "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(text(&next(&mut subscription).await), "y");
}

/// A consumer is not given more than it said, and not more bytes than it can be trusted with.
#[tokio::test]
async fn sec_059_what_is_under_way_is_bounded() {
    let world = World::with(&[bus("prj-a", "uid-1", "pubsub", &["orders"])]).await;
    let few = &[("concurrency", "2")];
    let component = open_bus(world.dial("/ns/prj-a/orders"), "pubsub", few).await.unwrap();
    let mut subscription = subscribe(&component, "t").await.unwrap();
    for data in ["1", "2", "3"] {
        component.publish(&to("t", data, &[])).await.unwrap();
    }
    let (one, _two) = (next(&mut subscription).await, next(&mut subscription).await);
    nothing(&mut subscription).await;
    one.settle(Outcome::Done);
    assert_eq!(text(&next(&mut subscription).await), "3");
    let large = "x".repeat(6 << 20);
    let component = opened(&world, "/ns/prj-a/orders").await;
    let mut subscription = subscribe(&component, "large").await.unwrap();
    for _ in 0..3 {
        component.publish(&to("large", large.clone(), &[])).await.unwrap();
    }
    let (one, _two) = (next(&mut subscription).await, next(&mut subscription).await);
    nothing(&mut subscription).await;
    one.settle(Outcome::Done);
    next(&mut subscription).await.settle(Outcome::Done);
}

#[tokio::test]
async fn a_time_to_live_ends() {
    let world = World::with(&[bus("prj-a", "uid-1", "pubsub", &["orders"])]).await;
    let component = opened(&world, "/ns/prj-a/orders").await;
    component
        .publish(&to("t", "short", &[("ttlInSeconds", "1")]))
        .await
        .unwrap();
    component.publish(&to("t", "long", &[])).await.unwrap();
    // Waiting is what is tested.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut subscription = subscribe(&component, "t").await.unwrap();
    assert_eq!(handled(&mut subscription).await, "long");
    nothing(&mut subscription).await;
}

#[tokio::test]
async fn names_have_bounds() {
    let world = World::with(&[bus("prj-a", "uid-1", "pubsub", &["orders"])]).await;
    let component = opened(&world, "/ns/prj-a/orders").await;
    for topic in [String::new(), "x".repeat(2000)] {
        let error = component.publish(&to(&topic, "x", &[])).await.unwrap_err();
        assert!(matches!(error, PubsubError::Invalid(_)), "{error}");
        assert!(subscribe(&component, &topic).await.is_err());
    }
}
