//! `bindings.rabbitmq` over a real RabbitMQ.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use palladium_component::bindings::Operation;
use palladium_component::{Binding, CallError, OpenContext};
use palladium_conformance::bindings::{create, ear, next, nothing};
use palladium_conformance::pubsub::publish_until_taken;
use palladium_peers::rabbitmq_server::RabbitServer;

async fn open(address: &str, pairs: &[(&str, &str)]) -> Arc<dyn Binding> {
    let all = pairs.iter().copied().chain([("host", address), ("queueName", "q")]);
    let context = OpenContext::new("binding", "app", all.collect());
    let opened = palladium_components_bindings::DRIVERS
        .open("bindings.rabbitmq", "v1", context)
        .await;
    opened.expect("the component opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ways() {
    let mut server = RabbitServer::start().await;
    events_come_one_by_one_until_they_are_handled(&server).await;
    a_time_to_live_counts(&server).await;
    what_is_wrong_is_said(&server).await;
    exclusive(&server).await;
    a_restart_loses_nothing(&mut server).await;
}

async fn events_come_one_by_one_until_they_are_handled(server: &RabbitServer) {
    let binding = open(&server.address(0), &[]).await;
    let ways = binding.ways();
    assert!(ways.into && ways.out && binding.operations() == ["create"]);
    // Kept although nobody listens yet.
    binding
        .invoke(&create("1", &[("Key", "välue"), ("a b", "c")]))
        .await
        .unwrap();
    binding.invoke(&create("2", &[])).await.unwrap();
    let (listener, mut heard) = ear();
    let listening = binding.listen(listener).await.unwrap();
    let (event, handled) = next(&mut heard).await;
    // Escaped, names and values, as by Dapr's driver.
    let heard_of = (&event.data[..], event.metadata["Key"].as_str());
    assert_eq!(heard_of, (&b"1"[..], "v%C3%A4lue"));
    assert_eq!(event.metadata["a+b"], "c");
    nothing(&mut heard).await;
    handled.send(Err("not today".into())).unwrap();
    // The server puts it back; what it has sent ahead comes first.
    let mut came = Vec::new();
    for _ in 0..2 {
        let (event, handled) = next(&mut heard).await;
        came.push(event.data);
        handled.send(Ok(None)).unwrap();
    }
    came.sort();
    assert_eq!(came, ["1", "2"]);
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
    assert!(binding.invoke(&create("5", &[])).await.is_err());
}

async fn a_time_to_live_counts(server: &RabbitServer) {
    let binding = open(&server.address(1), &[("ttl", "1h"), ("maxPriority", "5")]).await;
    binding
        .invoke(&create("short", &[("ttlInSeconds", "1"), ("priority", "5")]))
        .await
        .unwrap();
    binding.invoke(&create("long", &[])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (listener, mut heard) = ear();
    let _listening = binding.listen(listener).await.unwrap();
    assert_eq!(next(&mut heard).await.0.data, "long");
}

async fn what_is_wrong_is_said(server: &RabbitServer) {
    let binding = open(&server.address(2), &[]).await;
    for (operation, part) in [
        (create("x", &[("ttlInSeconds", "-1")]), "ttlInSeconds"),
        (create("x", &[("priority", "high")]), "priority"),
        (create("x", &[("contentType", &"x".repeat(300))]), "contentType"),
        (
            Operation {
                name: "get".into(),
                ..Operation::default()
            },
            "get",
        ),
    ] {
        let error = binding.invoke(&operation).await.unwrap_err();
        assert!(
            matches!(&error.error, CallError::Invalid(words) if words.contains(part)),
            "{error}"
        );
    }
    let all = [
        ("host", server.address(2)),
        ("queueName", "q".into()),
        ("durable", "true".into()),
    ];
    let context = OpenContext::new("binding", "app", all.into_iter().collect());
    let opened = palladium_components_bindings::DRIVERS
        .open("bindings.rabbitmq", "v1", context)
        .await;
    let error = opened.err().unwrap().to_string();
    assert!(
        error.contains("PRECONDITION_FAILED") && error.contains("'q'"),
        "{error}"
    );
}

async fn exclusive(server: &RabbitServer) {
    let binding = open(&server.address(3), &[("exclusive", "true")]).await;
    let (listener, mut heard) = ear();
    let _listening = binding.listen(listener).await.unwrap();
    binding.invoke(&create("mine", &[])).await.unwrap();
    assert_eq!(next(&mut heard).await.0.data, "mine");
}

async fn a_restart_loses_nothing(server: &mut RabbitServer) {
    let binding = open(
        &server.address(4),
        &[("durable", "true"), ("reconnectWaitInSeconds", "200ms")],
    )
    .await;
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
}
