//! What is peculiar to MQTT, over a real Mosquitto: sessions, wildcards, shared topics, retained messages.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use palladium_component::pubsub::Outcome;
use palladium_component::{OpenContext, OpenError, PubSub, PubsubError};
use palladium_conformance::pubsub::{message as to, next, nothing, publish_until_taken, subscribe};
use palladium_peers::mosquitto_server::MosquittoServer;

async fn try_open(url: &str, pairs: &[(&str, &str)]) -> Result<Arc<dyn PubSub>, OpenError> {
    let all = pairs.iter().copied().chain([("url", url)]);
    let context = OpenContext::new("pubsub", "app", all.collect());
    palladium_components_pubsub::DRIVERS
        .open("pubsub.mqtt3", "v1", context)
        .await
}

async fn open(url: &str, pairs: &[(&str, &str)]) -> Arc<dyn PubSub> {
    try_open(url, pairs).await.expect("the component opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_while_nobody_is_there_waits() {
    let server = MosquittoServer::start().await;
    let publisher = open(&server.url(), &[("consumerID", "publisher")]).await;
    for (clean, expected) in [("false", Some("2")), ("true", None)] {
        let pairs = [("consumerID", clean), ("cleanSession", clean)];
        let bus = open(&server.url(), &pairs).await;
        let mut subscription = subscribe(&bus, "t").await;
        publisher.publish(&to("t", "1", &[])).await.unwrap();
        next(&mut subscription).await.settle(Outcome::Done);
        drop(subscription);
        bus.close().await.unwrap();
        publisher.publish(&to("t", "2", &[])).await.unwrap();
        let bus = open(&server.url(), &pairs).await;
        // It arrives before anybody has subscribed again.
        let mut other = subscribe(&bus, "other").await;
        nothing(&mut other).await;
        let mut subscription = subscribe(&bus, "t").await;
        match expected {
            Some(expected) => {
                let delivery = next(&mut subscription).await;
                assert_eq!(delivery.message.data, expected);
                delivery.settle(Outcome::Done);
            }
            None => nothing(&mut subscription).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wildcards_and_shared_topics() {
    let server = MosquittoServer::start().await;
    let bus = open(&server.url(), &[("consumerID", "watcher")]).await;
    let (mut all, mut one) = (subscribe(&bus, "house/#").await, subscribe(&bus, "+/door").await);
    for topic in ["house/kitchen/light", "garden/door", "house"] {
        bus.publish(&to(topic, "x", &[])).await.unwrap();
    }
    for (subscription, topics) in [
        (&mut all, &["house/kitchen/light", "house"][..]),
        (&mut one, &["garden/door"]),
    ] {
        for topic in topics {
            let delivery = next(subscription).await;
            assert_eq!(delivery.message.topic, *topic);
            delivery.settle(Outcome::Done);
        }
        nothing(subscription).await;
    }

    let workers = [("consumerID", "one")];
    let (first, second) = (
        open(&server.url(), &workers).await,
        open(&server.url(), &[("consumerID", "two")]).await,
    );
    let (mut at_first, mut at_second) = (
        subscribe(&first, "$share/group/work").await,
        subscribe(&second, "$share/group/work").await,
    );
    for number in 0..20 {
        bus.publish(&to("work", number.to_string(), &[])).await.unwrap();
    }
    let (mut seen, mut shares) = (BTreeSet::new(), [0, 0]);
    while seen.len() < 20 {
        let (delivery, who) = tokio::select! {
            delivery = next(&mut at_first) => (delivery, 0),
            delivery = next(&mut at_second) => (delivery, 1),
        };
        assert!(seen.insert(delivery.message.data.clone()), "doubled");
        shares[who] += 1;
        delivery.settle(Outcome::Done);
    }
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_messages_and_wrong_ones() {
    let server = MosquittoServer::start().await;
    for qos in ["0", "1", "2"] {
        let (name, topic) = (format!("app-{qos}"), format!("last/{qos}"));
        let bus = open(&server.url(), &[("qos", qos), ("consumerID", &name)]).await;
        bus.publish(&to(&topic, "old", &[("retain", "true")])).await.unwrap();
        bus.publish(&to(&topic, "new", &[("retain", "true")])).await.unwrap();
        let mut subscription = subscribe(&bus, &topic).await;
        let delivery = next(&mut subscription).await;
        assert_eq!(
            (
                &delivery.message.data[..],
                delivery.message.metadata["retained"].as_str()
            ),
            (&b"new"[..], "true")
        );
        delivery.settle(Outcome::Done);
        bus.publish(&to(&topic, "now", &[])).await.unwrap();
        let delivery = next(&mut subscription).await;
        assert_eq!(
            (
                &delivery.message.data[..],
                delivery.message.metadata["retained"].as_str()
            ),
            (&b"now"[..], "false")
        );
        delivery.settle(Outcome::Done);
        nothing(&mut subscription).await;
        for request in [
            to("", "x", &[]),
            to("a/#", "x", &[]),
            to("a", "x", &[("retain", "perhaps")]),
        ] {
            assert!(matches!(bus.publish(&request).await, Err(PubsubError::Invalid(_))));
        }
        bus.close().await.unwrap();
    }
    let wrong = server.url().replace("only", "wrong");
    let error = try_open(&wrong, &[]).await.err().unwrap().to_string();
    assert!(error.contains("refused") && !error.contains("wrong"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_lose_nothing() {
    let mut server = MosquittoServer::start().await;
    let bus = open(&server.url(), &[]).await;
    let mut subscription = subscribe(&bus, "t").await;
    bus.publish(&to("t", "held", &[])).await.unwrap();
    let held = next(&mut subscription).await;
    server.end("TERM").await;
    let publisher = bus.clone();
    let publishing = tokio::spawn(async move {
        for number in 0..20 {
            let message = to("t", number.to_string(), &[]);
            publish_until_taken(|| publisher.publish(&message)).await;
        }
    });
    server.start_again().await;
    let mut wanted: BTreeSet<_> = (0..20).map(|number| number.to_string().into_bytes()).collect();
    wanted.insert(b"held".to_vec());
    while !wanted.is_empty() {
        let delivery = next(&mut subscription).await;
        wanted.remove(&delivery.message.data[..]);
        delivery.settle(Outcome::Done);
    }
    publishing.await.unwrap();
    held.settle(Outcome::Done);
    bus.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_with_a_certificate_of_the_client() {
    palladium_tls::install_crypto_provider();
    let server = MosquittoServer::start().await;
    let (url, authority, (certificate, key)) = server.tls();
    let known = [
        ("caCert", authority.as_str()),
        ("clientCert", &certificate),
        ("clientKey", &key),
    ];
    let bus = open(&url, &known).await;
    let mut subscription = subscribe(&bus, "t").await;
    bus.publish(&to("t", "secret", &[])).await.unwrap();
    assert_eq!(next(&mut subscription).await.message.data, "secret");
    assert!(
        try_open(&url, &[("consumerID", "x")]).await.is_err(),
        "an authority that nobody vouches for"
    );
    assert!(
        try_open(&url, &[known[0], ("consumerID", "y")]).await.is_err(),
        "no certificate"
    );
}
