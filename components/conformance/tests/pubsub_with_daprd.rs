//! Our Redis driver and Dapr's own on one server: what one publishes the other receives, and what one of them has left
//! behind the other takes over. Needs Dapr's `daprd`: `PALLADIUM_PEERS` names the folder that `./dev peers` prints.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use palladium_component::OpenContext;
use palladium_component::pubsub::{Outcome, PublishRequest, SubscribeRequest};
use palladium_conformance::daprd::Daprd;
use palladium_conformance::redis_server::RedisServer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// An application that receives topic `t` and passes on the bodies it gets.
async fn application() -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, sender.clone()));
        }
    });
    (port, receiver)
}

/// One request for each connection.
async fn answer(mut stream: TcpStream, sender: mpsc::UnboundedSender<String>) {
    let mut request = String::new();
    let (head, body) = loop {
        let mut piece = [0; 4096];
        let Ok(length @ 1..) = stream.read(&mut piece).await else {
            return;
        };
        request.push_str(&String::from_utf8_lossy(&piece[..length]));
        let Some((head, body)) = request.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.to_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let answer = match head.split(' ').nth(1) {
        Some("/dapr/subscribe") => r#"[{"pubsubname":"store","topic":"t","route":"/t"}]"#,
        Some("/t") => {
            let _ = sender.send(body);
            "{}"
        }
        _ => "{}",
    };
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length";
    let _ = stream
        .write_all(format!("{head}: {}\r\n\r\n{answer}", answer.len()).as_bytes())
        .await;
}

#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn redis() {
    let server = RedisServer::start().await;
    let metadata = server.metadata();
    let open = async |app_id: &str| {
        let context = OpenContext::new("store", app_id, metadata.iter().cloned().collect());
        palladium_components_pubsub::DRIVERS
            .open("pubsub.redis", "v1", context)
            .await
            .expect("it opens")
    };
    let subscribe = SubscribeRequest {
        topic: "t".into(),
        ..SubscribeRequest::default()
    };

    // Ours receives under a name of its own; under daprd's name it has taken a message and left it.
    let ours = open("shipping").await;
    let mut received = ours.subscribe(subscribe.clone()).await.unwrap();
    let neighbour = open("orders").await;
    let mut left = neighbour.subscribe(subscribe).await.unwrap();
    let envelope =
        r#"{"id":"1","specversion":"1.0","type":"x","source":"s","datacontenttype":"text/plain","data":"left"}"#;
    let request = PublishRequest {
        topic: "t".into(),
        data: envelope.into(),
        ..PublishRequest::default()
    };
    ours.publish(&request).await.unwrap();
    drop(timeout(Duration::from_secs(5), left.next()).await.unwrap());
    drop(left);
    neighbour.close().await.unwrap();
    timeout(Duration::from_secs(5), received.next())
        .await
        .unwrap()
        .unwrap()
        .settle(Outcome::Done);

    // daprd takes over what was left, once it is old enough.
    let times = [("processingTimeout", "200ms"), ("redeliverInterval", "200ms")];
    let times = times.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (port, mut bodies) = application().await;
    let daprd = Daprd::start(
        "pubsub.redis",
        "v1",
        &[metadata.clone(), times].concat(),
        &[format!("--app-port={port}")],
    )
    .await;
    let body = timeout(Duration::from_secs(20), bodies.recv()).await.unwrap().unwrap();
    assert!(body.contains(r#""data":"left""#), "{body}");

    // And what daprd publishes arrives at ours, its metadata beside it.
    let published = daprd
        .call("POST", "/v1.0/publish/store/t?metadata.foo=bar", r#"{"n":1}"#)
        .await;
    assert_eq!(published.status, 204, "{published:?}");
    let delivery = timeout(Duration::from_secs(5), received.next()).await.unwrap().unwrap();
    let event: serde_json::Value = serde_json::from_slice(&delivery.message.data).unwrap();
    assert_eq!((&event["data"]["n"], &event["topic"]), (&1.into(), &"t".into()));
    assert_eq!(delivery.message.metadata.get("foo").map(String::as_str), Some("bar"));
    delivery.settle(Outcome::Done);
    let body = timeout(Duration::from_secs(20), bodies.recv()).await.unwrap().unwrap();
    assert!(body.contains(r#""n":1"#), "{body}");
}
