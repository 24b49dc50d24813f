//! `bindings.kafka` over a real Kafka: both ways, what is committed, restarts, what Dapr's own driver would find.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use krafka::Record;
use palladium_component::bindings::Operation;
use palladium_component::{Binding, CallError, OpenContext};
use palladium_conformance::bindings::{create, ear, next, nothing};
use palladium_conformance::pubsub::publish_until_taken;
use palladium_peers::kafka_server::KafkaServer;

async fn open(server: &KafkaServer, pairs: &[(&str, &str)]) -> Arc<dyn Binding> {
    let quick = [
        ("initialOffset", "oldest"),
        ("backOffDuration", "200ms"),
        ("heartbeatInterval", "200ms"),
        ("sessionTimeout", "6s"),
    ];
    let more = quick.iter().chain(pairs);
    let more = more.map(|(name, value)| (name.to_string(), value.to_string()));
    let context = OpenContext::new("binding", "app", server.metadata().into_iter().chain(more).collect());
    let opened = palladium_components_bindings::DRIVERS
        .open("bindings.kafka", "v1", context)
        .await;
    opened.expect("the component opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ways() {
    let mut server = KafkaServer::start().await;
    events_come_one_by_one(&server).await;
    what_was_not_handled(&server).await;
    several_topics_and_one_way(&server).await;
    what_is_wrong_is_said(&server).await;
    a_restart_loses_nothing(&mut server).await;
}

async fn events_come_one_by_one(server: &KafkaServer) {
    server.create("events", 1).await;
    let pairs = [
        ("topics", "events"),
        ("publishTopic", "events"),
        ("consumerGroup", "events"),
    ];
    let binding = open(server, &pairs).await;
    let ways = binding.ways();
    assert!(ways.into && ways.out && binding.operations() == ["create"]);
    // Kept although nobody listens yet.
    let said = [("partitionKey", "k"), ("Key", "välue")];
    binding.invoke(&create("1", &said)).await.unwrap();
    binding.invoke(&create("2", &[])).await.unwrap();
    let log = server.log("events", 2).await;
    assert_eq!((log[0].key_str(), log[0].header_str("Key")), (Some("k"), Some("välue")));
    let (listener, mut heard) = ear();
    let listening = binding.listen(listener).await.unwrap();
    let (event, handled) = next(&mut heard).await;
    assert_eq!((&event.data[..], event.metadata["Key"].as_str()), (&b"1"[..], "välue"));
    assert_eq!(
        (event.metadata["__key"].as_str(), event.metadata["__offset"].as_str()),
        ("k", "0")
    );
    nothing(&mut heard).await;
    assert_eq!(server.committed("events", "events", 0).await, None);
    handled.send(Ok(None)).unwrap();
    let (event, handled) = next(&mut heard).await;
    assert_eq!(event.data, "2");
    handled.send(Ok(None)).unwrap();
    // What is under way when it ends may finish; what comes later waits.
    binding.invoke(&create("3", &[])).await.unwrap();
    let (event, handled) = next(&mut heard).await;
    assert_eq!(event.data, "3");
    drop(listening);
    binding.invoke(&create("4", &[])).await.unwrap();
    handled.send(Ok(None)).unwrap();
    nothing(&mut heard).await;
    let (listener, mut heard) = ear();
    let _listening = binding.listen(listener).await.unwrap();
    let (event, handled) = next(&mut heard).await;
    assert_eq!(event.data, "4");
    handled.send(Ok(None)).unwrap();
    nothing(&mut heard).await;
    binding.close().await.unwrap();
    assert_eq!(server.committed("events", "events", 0).await, Some(4));
    assert!(binding.invoke(&create("5", &[])).await.is_err());
}

/// As with Dapr's driver it is left behind, unless the component says otherwise.
async fn what_was_not_handled(server: &KafkaServer) {
    for (topic, retry) in [("left", "false"), ("held", "true")] {
        server.create(topic, 1).await;
        let pairs = [
            ("topics", topic),
            ("publishTopic", topic),
            ("consumerGroup", topic),
            ("consumeRetryEnabled", retry),
        ];
        let binding = open(server, &pairs[..if retry == "true" { 4 } else { 3 }]).await;
        binding.invoke(&create("1", &[])).await.unwrap();
        binding.invoke(&create("2", &[])).await.unwrap();
        let (listener, mut heard) = ear();
        let _listening = binding.listen(listener).await.unwrap();
        let (event, handled) = next(&mut heard).await;
        assert_eq!(event.data, "1");
        handled.send(Err("not today".into())).unwrap();
        let expected: &[&str] = if retry == "true" { &["1", "2"] } else { &["2"] };
        for expected in expected {
            let (event, handled) = next(&mut heard).await;
            assert_eq!(event.data, *expected);
            handled.send(Ok(None)).unwrap();
        }
        nothing(&mut heard).await;
        binding.close().await.unwrap();
        assert_eq!(server.committed(topic, topic, 0).await, Some(2));
    }
}

async fn several_topics_and_one_way(server: &KafkaServer) {
    server.create("one", 1).await;
    server.create("two", 1).await;
    // Without a group it has the App ID's.
    let binding = open(server, &[("topics", "one, two")]).await;
    assert!(!binding.ways().out && binding.operations().is_empty());
    let (listener, mut heard) = ear();
    let _listening = binding.listen(listener).await.unwrap();
    for topic in ["one", "two"] {
        server.put(Record::new(topic, topic)).await;
        let (event, handled) = next(&mut heard).await;
        assert_eq!(
            (&event.data[..], event.metadata["__topic"].as_str()),
            (topic.as_bytes(), topic)
        );
        handled.send(Ok(None)).unwrap();
    }
    binding.close().await.unwrap();
    assert_eq!(server.committed("app", "two", 0).await, Some(1));
    let binding = open(server, &[("publishTopic", "one")]).await;
    assert!(!binding.ways().into);
    binding.close().await.unwrap();
}

async fn what_is_wrong_is_said(server: &KafkaServer) {
    let binding = open(server, &[("publishTopic", "one")]).await;
    let other = Operation {
        name: "get".into(),
        ..Operation::default()
    };
    for (operation, part) in [
        (create("x", &[("partitionNumber", "-1")]), "partitionNumber"),
        (create(&"x".repeat(2 << 20), &[]), "maxMessageBytes"),
        (other, "get"),
    ] {
        let error = binding.invoke(&operation).await.unwrap_err();
        assert!(
            matches!(&error.error, CallError::Invalid(words) if words.contains(part)),
            "{error}"
        );
    }
    binding.close().await.unwrap();
}

async fn a_restart_loses_nothing(server: &mut KafkaServer) {
    server.create("restart", 1).await;
    let pairs = [
        ("topics", "restart"),
        ("publishTopic", "restart"),
        ("consumerGroup", "restart"),
        ("consumeRetryEnabled", "true"),
    ];
    let binding = open(server, &pairs).await;
    let (listener, mut heard) = ear();
    let _listening = binding.listen(listener).await.unwrap();
    for number in 0..10 {
        binding.invoke(&create(&number.to_string(), &[])).await.unwrap();
    }
    next(&mut heard).await.1.send(Ok(None)).unwrap();
    server.restart("KILL").await;
    let last = create("10", &[]);
    publish_until_taken(|| binding.invoke(&last)).await;
    let mut missing: Vec<String> = (1..=10).map(|number| number.to_string()).collect();
    while !missing.is_empty() {
        let (event, handled) = next(&mut heard).await;
        missing.retain(|data| data.as_bytes() != &event.data[..]);
        let _ = handled.send(Ok(None));
    }
    binding.close().await.unwrap();
}
