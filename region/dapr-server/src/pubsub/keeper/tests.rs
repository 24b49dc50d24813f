//! A Dapr Server of the platform's, an application behind an address, and what happens when either changes.

use palladium_engine_pubsub::PublishRequest;
use tokio::sync::mpsc;

use super::*;
use crate::testing::{open, server, use_components};

const SOON: Duration = Duration::from_secs(20);

/// An application that wants topic `t` at `/orders`; what it gets there, head and body.
async fn application() -> (Arc<AppChannel>, mpsc::UnboundedReceiver<String>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let answer = move |request: String| {
        let answer = match request.split(' ').nth(1) {
            Some("/base/dapr/subscribe") => r#"[{"pubsubname":"events","topic":"t","route":"orders"}]"#,
            Some("/base/orders") => {
                let _ = sender.send(request);
                "{}"
            }
            other => panic!("{other:?}"),
        };
        std::future::ready((200, answer.to_owned()))
    };
    (crate::testing::application(answer).await, receiver)
}

/// A new in-memory component `events`, in the place of the one before.
async fn component(server: &Server, metadata: &[(&str, &str)]) {
    let opened = open(server, "events", "pubsub.in-memory", metadata).await;
    use_components(server, [opened]);
}

async fn publish(server: &Server) {
    let request = PublishRequest {
        topic: "t".into(),
        data: r#"{"id":"1","traceparent":"nonsense"}"#.into(),
        ..PublishRequest::default()
    };
    let entry = server.components.load().pubsub("events").cloned().unwrap();
    entry.component.publish(request).await.unwrap();
}

/// Publishes until it arrives: who is not subscribed yet misses what is published.
async fn arrives(server: &Server, received: &mut mpsc::UnboundedReceiver<String>) {
    let arrival = async {
        loop {
            publish(server).await;
            if let Ok(Some(request)) = timeout(Duration::from_millis(50), received.recv()).await {
                return request;
            }
        }
    };
    let request = timeout(SOON, arrival).await.expect("it arrives");
    let kind = "content-type: application/cloudevents+json";
    assert!(request.contains(kind), "{request}");
    assert!(request.contains("pubsubname: events") && request.ends_with(r#""traceparent":"nonsense"}"#));
}

/// Nobody is subscribed to the component that is there now.
async fn stays_away(server: &Server, received: &mut mpsc::UnboundedReceiver<String>) {
    while received.try_recv().is_ok() {}
    for _ in 0..3 {
        publish(server).await;
        let arrived = timeout(Duration::from_millis(20), received.recv()).await;
        assert!(arrived.is_err(), "{arrived:?}");
    }
}

#[tokio::test]
async fn subscriptions_follow_components_and_the_application() {
    let server = server();
    component(&server, &[]).await;
    let (looked, first) = oneshot::channel();
    let stop = Shutdown::new();
    let mut tasks = Tasks::new();
    tasks.spawn("keeper", keep(server.clone(), looked, stop.clone()));
    first.await.unwrap();
    let (app, mut received) = application().await;
    stays_away(&server, &mut received).await;

    server.app.store(Some(app.clone()));
    server.subscriptions.ring();
    arrives(&server, &mut received).await;
    assert_eq!(server.subscriptions.all(&[]).len(), 1, "metadata tells it");

    component(&server, &[]).await;
    arrives(&server, &mut received).await;

    component(&server, &[("subscriptionScopes", "orders=other")]).await;
    stays_away(&server, &mut received).await;

    component(&server, &[]).await;
    arrives(&server, &mut received).await;
    server.app.store(None);
    server.subscriptions.ring();
    // The keeper knows whom it has asked, nobody else has it any more.
    let let_go = async {
        while Arc::strong_count(&app) > 2 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, let_go).await.expect("nobody delivers any more");
    stays_away(&server, &mut received).await;

    stop.trigger();
    tasks.drain(SOON).await.unwrap();
}
