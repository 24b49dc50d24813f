//! What is peculiar to RabbitMQ, over a real one: restarts, dead letters, routing, bounds, and what Dapr's own driver would
//! find on the server.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicGetOptions, ExchangeDeleteOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use palladium_component::pubsub::{Outcome, SubscribeRequest, Subscription};
use palladium_component::{OpenContext, PubSub, PubsubError};
use palladium_conformance::pubsub::{done_until, message as to, next, nothing, publish_until_taken};
use palladium_peers::rabbitmq_server::RabbitServer;
use tokio::time::timeout;

const KEPT: [(&str, &str); 3] = [
    ("deletedWhenUnused", "false"),
    ("deliveryMode", "2"),
    ("reconnectWait", "200ms"),
];

async fn open(address: &str, pairs: &[(&str, &str)]) -> Arc<dyn PubSub> {
    let all = pairs.iter().copied().chain([("connectionString", address)]);
    let context = OpenContext::new("pubsub", "app", all.collect());
    let opened = palladium_components_pubsub::DRIVERS
        .open("pubsub.rabbitmq", "v1", context)
        .await;
    opened.expect("the component opens")
}

async fn subscribe(bus: &Arc<dyn PubSub>, topic: &str, metadata: &[(&str, &str)]) -> Result<Subscription, PubsubError> {
    bus.subscribe(SubscribeRequest {
        topic: topic.into(),
        metadata: metadata
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_lose_nothing() {
    const COUNT: usize = 60;
    let mut server = RabbitServer::start().await;
    let bus = open(
        &server.address(0),
        &[&KEPT[..], &[("requeueInFailure", "true")]].concat(),
    )
    .await;
    let mut subscription = subscribe(&bus, "t", &[]).await.unwrap();
    bus.publish(&to("t", "held", &[])).await.unwrap();
    let held = next(&mut subscription).await;

    for signal in ["TERM", "KILL"] {
        let publisher = bus.clone();
        let publishing = tokio::spawn(async move {
            for number in 0..COUNT {
                // Who is not told that the server has a message says it again.
                let message = to("t", format!("{signal} {number}"), &[]);
                publish_until_taken(|| publisher.publish(&message)).await;
            }
        });
        let mut seen = BTreeSet::new();
        while seen.len() < 10 {
            let delivery = next(&mut subscription).await;
            seen.insert(delivery.message.data.clone());
            delivery.settle(Outcome::Done);
        }
        server.restart(signal).await;
        let mut wanted: BTreeSet<_> = (0..COUNT).map(|number| format!("{signal} {number}").into()).collect();
        if signal == "TERM" {
            wanted.insert("held".into());
        }
        while !wanted.is_subset(&seen) {
            let delivery = next(&mut subscription).await;
            seen.insert(delivery.message.data.clone());
            delivery.settle(Outcome::Done);
        }
        publishing.await.unwrap();
    }
    // The right to settle it went with its connection; it came again meanwhile.
    held.settle(Outcome::Done);
    bus.ping().await.unwrap();

    // A server that is away is an error in time, and what is received goes on when it is back.
    server.end().await;
    let error = bus.publish(&to("t", "x", &[])).await.unwrap_err();
    assert!(
        matches!(error, PubsubError::Unavailable(_)) && !error.to_string().contains("only"),
        "{error}"
    );
    server.start_again().await;
    let back = to("t", "back", &[]);
    publish_until_taken(|| bus.publish(&back)).await;
    // What was settled shortly before the end may come again, before all others, and goes only when it is done with: the server
    // hands out no more than the prefetch count, and what goes back to it goes to the front.
    done_until(&mut subscription, "back").await;
    bus.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peculiarities() {
    let server = RabbitServer::start().await;
    layout_is_daprs(&server).await;
    dead_letters(&server).await;
    routing_keys(&server).await;
    no_more_than_the_prefetch_count(&server).await;
    one_after_the_other(&server).await;
    acknowledged_at_once(&server).await;
    properties_are_shown(&server).await;
    an_exchange_that_was_deleted(&server).await;
    what_the_server_refuses(&server).await;
    encrypted(&server).await;
}

/// Dapr's driver declares the same again, or is refused.
async fn layout_is_daprs(server: &RabbitServer) {
    let pairs = [
        ("deletedWhenUnused", "false"),
        ("enableDeadLetter", "true"),
        ("maxLen", "100"),
    ];
    let bus = open(&server.address(0), &[&pairs[..], &[("consumerID", "shop")]].concat()).await;
    let _subscription = subscribe(&bus, "orders", &[]).await.unwrap();
    let connection = server.connection(0).await;
    let text = |text: &str| AMQPValue::LongString(LongString::from(text));
    for (queue, arguments) in [
        (
            "shop-orders",
            vec![
                ("x-dead-letter-exchange", text("dlx-shop-orders")),
                ("x-max-length", AMQPValue::LongLongInt(100)),
                ("x-queue-type", text("classic")),
            ],
        ),
        (
            "dlq-shop-orders",
            vec![
                ("x-max-length", AMQPValue::LongLongInt(100)),
                ("x-queue-mode", text("lazy")),
            ],
        ),
    ] {
        let channel = connection.create_channel().await.unwrap();
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert(name.into(), value);
        }
        channel
            .queue_declare(queue.into(), QueueDeclareOptions::durable(), table)
            .await
            .unwrap();
    }
    // By default a queue goes with its last consumer.
    let bus = open(&server.address(0), &[]).await;
    drop(subscribe(&bus, "gone", &[]).await.unwrap());
    bus.close().await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    assert!(
        channel
            .queue_declare("app-gone".into(), passive, FieldTable::default())
            .await
            .is_err()
    );
}

async fn dead_letters(server: &RabbitServer) {
    let bus = open(
        &server.address(1),
        &[&KEPT[..], &[("enableDeadLetter", "true")]].concat(),
    )
    .await;
    let mut subscription = subscribe(&bus, "t", &[]).await.unwrap();
    bus.publish(&to("t", "bad", &[])).await.unwrap();
    bus.publish(&to("t", "good", &[])).await.unwrap();
    next(&mut subscription).await.settle(Outcome::Failed);
    next(&mut subscription).await.settle(Outcome::Done);
    let connection = server.connection(1).await;
    let channel = connection.create_channel().await.unwrap();
    let dead = timeout(Duration::from_secs(20), async {
        loop {
            let got = channel
                .basic_get("dlq-app-t".into(), BasicGetOptions { no_ack: true })
                .await
                .unwrap();
            if let Some(message) = got {
                return message.delivery.data;
            }
        }
    });
    assert_eq!(dead.await.unwrap(), b"bad");
    nothing(&mut subscription).await;
}

async fn routing_keys(server: &RabbitServer) {
    let bus = open(&server.address(2), &[&KEPT[..], &[("exchangeKind", "topic")]].concat()).await;
    let mine = [("routingKey", "order.*,refund"), ("queueName", "mine")];
    let mut some = subscribe(&bus, "t", &mine).await.unwrap();
    let mut all = subscribe(&bus, "t", &[("routingKey", "#"), ("queueType", "quorum")])
        .await
        .unwrap();
    for key in ["order.new", "refund", "order.new.late"] {
        bus.publish(&to("t", key, &[("routingKey", key)])).await.unwrap();
    }
    for (subscription, expected) in [
        (&mut some, &["order.new", "refund"][..]),
        (&mut all, &["order.new", "refund", "order.new.late"][..]),
    ] {
        for expected in expected {
            let delivery = next(subscription).await;
            assert_eq!(delivery.message.data, expected.as_bytes());
            delivery.settle(Outcome::Done);
        }
        nothing(subscription).await;
    }
}

async fn no_more_than_the_prefetch_count(server: &RabbitServer) {
    let bus = open(&server.address(3), &[&KEPT[..], &[("prefetchCount", "3")]].concat()).await;
    let mut subscription = subscribe(&bus, "t", &[]).await.unwrap();
    for number in 0..5 {
        bus.publish(&to("t", number.to_string(), &[])).await.unwrap();
    }
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut subscription).await);
    }
    nothing(&mut subscription).await;
    held.remove(0).settle(Outcome::Done);
    assert_eq!(next(&mut subscription).await.message.data, "3");
}

async fn one_after_the_other(server: &RabbitServer) {
    let bus = open(&server.address(4), &[&KEPT[..], &[("concurrency", "single")]].concat()).await;
    let mut subscription = subscribe(&bus, "t", &[]).await.unwrap();
    for number in 0..3 {
        bus.publish(&to("t", number.to_string(), &[])).await.unwrap();
    }
    for number in 0..3 {
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.message.data, number.to_string());
        nothing(&mut subscription).await;
        delivery.settle(Outcome::Done);
    }
}

async fn acknowledged_at_once(server: &RabbitServer) {
    let pairs = [("autoAck", "true"), ("requeueInFailure", "true")];
    let bus = open(&server.address(5), &[&KEPT[..], &pairs].concat()).await;
    let mut subscription = subscribe(&bus, "t", &[]).await.unwrap();
    bus.publish(&to("t", "x", &[])).await.unwrap();
    let delivery = next(&mut subscription).await;
    bus.close().await.unwrap();
    delivery.settle(Outcome::Failed);
    let again = open(&server.address(5), &[&KEPT[..], &pairs].concat()).await;
    nothing(&mut subscribe(&again, "t", &[]).await.unwrap()).await;
}

async fn properties_are_shown(server: &RabbitServer) {
    let pairs = [("publishMessagePropertiesToMetadata", "true")];
    let bus = open(&server.address(6), &[&KEPT[..], &pairs].concat()).await;
    let mut subscription = subscribe(&bus, "t", &[("maxPriority", "5")]).await.unwrap();
    let said = [
        ("messageID", "m"),
        ("contentType", "text/x"),
        ("priority", "2"),
        ("ttlInSeconds", "60"),
        ("other", "o"),
    ];
    bus.publish(&to("t", "x", &said)).await.unwrap();
    let delivery = next(&mut subscription).await;
    let shown: BTreeSet<_> = delivery
        .message
        .metadata
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        shown,
        [("metadata.contenttype", "text/x"), ("metadata.messageid", "m")].into()
    );
    delivery.settle(Outcome::Done);
}

/// The server deletes exchanges by itself, too.
async fn an_exchange_that_was_deleted(server: &RabbitServer) {
    let bus = open(&server.address(7), &KEPT).await;
    bus.publish(&to("t", "1", &[])).await.unwrap();
    let channel = server.connection(7).await.create_channel().await.unwrap();
    channel
        .exchange_delete("t".into(), ExchangeDeleteOptions::default())
        .await
        .unwrap();
    bus.publish(&to("t", "2", &[])).await.unwrap();
}

async fn what_the_server_refuses(server: &RabbitServer) {
    let (one, other) = ([("exchangeKind", "topic")], [("exchangeKind", "direct")]);
    let one = open(&server.address(8), &[&KEPT[..], &one].concat()).await;
    one.publish(&to("t", "x", &[])).await.unwrap();
    let other = open(&server.address(8), &[&KEPT[..], &other].concat()).await;
    for error in [
        other.publish(&to("t", "x", &[])).await.unwrap_err(),
        subscribe(&other, "t", &[]).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("PRECONDITION_FAILED"), "{error}");
    }
    // And goes on.
    other.publish(&to("u", "x", &[])).await.unwrap();
    let long = "x".repeat(300);
    assert!(matches!(
        other.publish(&to(&long, "x", &[])).await,
        Err(PubsubError::Invalid(_))
    ));

    let wrong = server.address(8).replace("only", "wrong");
    let properties = [("connectionString", wrong.as_str())].into_iter().collect();
    let context = OpenContext::new("pubsub", "app", properties);
    let opened = palladium_components_pubsub::DRIVERS
        .open("pubsub.rabbitmq", "v1", context)
        .await;
    let error = opened.err().unwrap().to_string();
    assert!(error.contains("ACCESS_REFUSED") && !error.contains("wrong"), "{error}");
}

async fn encrypted(server: &RabbitServer) {
    palladium_tls::install_crypto_provider();
    let (address, authority) = server.tls_address(9);
    let bus = open(&address, &[&KEPT[..], &[("caCert", authority.as_str())]].concat()).await;
    let mut subscription = subscribe(&bus, "t", &[]).await.unwrap();
    bus.publish(&to("t", "secret", &[])).await.unwrap();
    assert_eq!(next(&mut subscription).await.message.data, "secret");
    let unknown = OpenContext::new("pubsub", "app", [("connectionString", address)].into_iter().collect());
    let opened = palladium_components_pubsub::DRIVERS
        .open("pubsub.rabbitmq", "v1", unknown)
        .await;
    assert!(opened.is_err(), "an authority that nobody vouches for");
}
