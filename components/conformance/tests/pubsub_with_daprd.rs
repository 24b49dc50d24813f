//! Our drivers and Dapr's own on one server: what one publishes the other receives, and what one of them has left behind the
//! other takes over. Needs Dapr's `daprd`: `PALLADIUM_PEERS` names the folder that `./dev peers` prints.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use palladium_component::OpenContext;
use palladium_component::pubsub::{Outcome, PublishRequest, SubscribeRequest};
use palladium_conformance::pubsub::next;
use palladium_peers::application::Application;
use palladium_peers::daprd::Daprd;
use palladium_peers::kafka_server::KafkaServer;
use palladium_peers::mosquitto_server::MosquittoServer;
use palladium_peers::rabbitmq_server::RabbitServer;
use palladium_peers::redis_server::RedisServer;
use tokio::time::timeout;

/// How a broker and Dapr's driver for it are.
struct Peculiar {
    /// Dapr's driver receives what a component of the same App ID has left behind.
    takes_over: bool,
    /// A message's metadata travel.
    carries_metadata: bool,
}

async fn beside(type_name: &str, metadata: &[(String, String)], daprs: &[(&str, &str)], peculiar: Peculiar) {
    let open = async |app_id: &str| {
        let context = OpenContext::new("store", app_id, metadata.iter().cloned().collect());
        palladium_components_pubsub::DRIVERS
            .open(type_name, "v1", context)
            .await
            .expect("it opens")
    };
    let subscribe = SubscribeRequest {
        topic: "t".into(),
        ..SubscribeRequest::default()
    };
    let envelope =
        r#"{"id":"1","specversion":"1.0","type":"x","source":"s","datacontenttype":"text/plain","data":"left"}"#;
    let request = PublishRequest {
        topic: "t".into(),
        data: envelope.into(),
        ..PublishRequest::default()
    };

    // Ours receives under a name of its own; under daprd's name it has taken a message and left it.
    let ours = open("shipping").await;
    let mut received = ours.subscribe(subscribe.clone()).await.unwrap();
    if peculiar.takes_over {
        let neighbour = open("orders").await;
        let mut left = neighbour.subscribe(subscribe).await.unwrap();
        ours.publish(&request).await.unwrap();
        drop(timeout(Duration::from_secs(5), left.next()).await.unwrap());
        drop(left);
        neighbour.close().await.unwrap();
        next(&mut received).await.settle(Outcome::Done);
    }

    // daprd takes over what was left, once it is old enough.
    let daprs = daprs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let all: Vec<_> = metadata.iter().cloned().chain(daprs).collect();
    let mut application = Application::start(Duration::ZERO).await;
    let bodies = &mut application.bodies;
    let daprd = Daprd::start(type_name, "v1", &all, &[format!("--app-port={}", application.port)]).await;
    if !peculiar.takes_over {
        // It is told of the application's topics after it says that it is ready.
        while timeout(Duration::from_millis(200), bodies.recv()).await.is_err() {
            ours.publish(&request).await.unwrap();
            next(&mut received).await.settle(Outcome::Done);
        }
        while timeout(Duration::from_millis(500), bodies.recv()).await.is_ok() {}
        ours.publish(&request).await.unwrap();
        next(&mut received).await.settle(Outcome::Done);
    }
    let body = timeout(Duration::from_secs(20), bodies.recv()).await.unwrap().unwrap();
    assert!(body.contains(r#""data":"left""#), "{body}");

    // And what daprd publishes arrives at ours, its metadata beside it.
    let published = daprd
        .api
        .call("POST", "/v1.0/publish/store/t?metadata.foo=bar", r#"{"n":1}"#)
        .await;
    assert_eq!(published.status, 204, "{published:?}");
    let delivery = next(&mut received).await;
    let event: serde_json::Value = serde_json::from_slice(&delivery.message.data).unwrap();
    assert_eq!((&event["data"]["n"], &event["topic"]), (&1.into(), &"t".into()));
    let told = delivery.message.metadata.get("foo").map(String::as_str);
    assert_eq!(told, peculiar.carries_metadata.then_some("bar"));
    delivery.settle(Outcome::Done);
    let body = timeout(Duration::from_secs(20), bodies.recv()).await.unwrap().unwrap();
    assert!(body.contains(r#""n":1"#), "{body}");
}

#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn redis() {
    let server = RedisServer::start().await;
    let times = [("processingTimeout", "200ms"), ("redeliverInterval", "200ms")];
    let peculiar = Peculiar {
        takes_over: true,
        carries_metadata: true,
    };
    beside("pubsub.redis", &server.metadata(), &times, peculiar).await;
}

/// One group for both: daprd begins where ours has committed.
#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn kafka() {
    let server = KafkaServer::start().await;
    server.create("t", 1).await;
    let more = [("initialOffset".to_owned(), "oldest".to_owned())];
    let metadata = [server.metadata(), more.to_vec()].concat();
    let peculiar = Peculiar {
        takes_over: true,
        carries_metadata: true,
    };
    beside("pubsub.kafka", &metadata, &[], peculiar).await;
}

/// One queue for both: they declare it alike.
#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn rabbitmq() {
    let server = RabbitServer::start().await;
    let metadata = [
        ("connectionString", server.address(0)),
        ("deletedWhenUnused", "false".into()),
        ("enableDeadLetter", "true".into()),
        ("maxLen", "1000".into()),
    ];
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value));
    let peculiar = Peculiar {
        takes_over: true,
        carries_metadata: false,
    };
    beside("pubsub.rabbitmq", &metadata, &[], peculiar).await;
}

/// Dapr's driver drops what arrives before it has subscribed again, so it takes nothing over.
#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn mqtt3() {
    let server = MosquittoServer::start().await;
    let peculiar = Peculiar {
        takes_over: false,
        carries_metadata: false,
    };
    beside("pubsub.mqtt3", &[("url".to_owned(), server.url())], &[], peculiar).await;
}
