//! A Dapr Server of the platform's, an application behind an address, and what happens when either changes.

use palladium_component::{Hosting, Properties};
use palladium_engine_pubsub::PublishRequest;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::components::{Opened, Opener};
use crate::config::AppProtocol;
use crate::entry::Entry;
use crate::platform::new_server;
use crate::resources::Component;
use crate::server::Components;

/// An application that wants topic `t` at `/orders`; what it gets there, head and body.
async fn application() -> (Arc<AppChannel>, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, sender.clone()));
        }
    });
    let channel = AppChannel::endpoint(&url, AppProtocol::Http, None, None, false).unwrap();
    (Arc::new(channel), receiver)
}

async fn answer(mut stream: TcpStream, sender: mpsc::UnboundedSender<String>) {
    let mut request = vec![0; 8192];
    let length = stream.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let answer = match request.split(' ').nth(1) {
        Some("/base/dapr/subscribe") => r#"[{"pubsubname":"events","topic":"t","route":"orders"}]"#,
        Some("/base/orders") => {
            let _ = sender.send(request);
            "{}"
        }
        other => panic!("{other:?}"),
    };
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length";
    let _ = stream
        .write_all(format!("{head}: {}\r\n\r\n{answer}", answer.len()).as_bytes())
        .await;
}

fn server() -> Arc<Server> {
    let config = json!({
        "app_id": "orders", "project_id": "prj-a", "log": {},
        "identity": { "spiffe_id": "spiffe://r/ns/prj-a/orders", "sentry_address": "127.0.0.1:1",
            "sentry_id": "spiffe://r/ns/palladium/dapr-sentry", "roots_file": "/nowhere" },
        "agent_address": "127.0.0.1:1", "agent_id": "spiffe://r/ns/palladium/agent",
        "gateway_id": "spiffe://r/ns/palladium/gateway", "gateway_listen": "127.0.0.1:0",
        "internal_listen": "127.0.0.1:0", "data_folder": "/nowhere",
    });
    Arc::new(new_server(
        &serde_json::from_value(config).unwrap(),
        &Default::default(),
        Shutdown::new(),
    ))
}

/// A new in-memory component `events`, in the place of the one before.
async fn component(server: &Server, properties: Properties) {
    let opener = Opener {
        app_id: server.app_id.clone(),
        namespace: server.namespace.clone(),
        hosting: Hosting::Platform {
            folder: "/nowhere".into(),
        },
        managed: None,
        pluggable: Vec::new(),
        secrets: Default::default(),
    };
    let document = json!({ "metadata": { "name": "events" }, "spec": { "type": "pubsub.in-memory", "version": "v1" } });
    let read = Component::read(document, "orders", "prj-a", crate::resources::References::Resolved);
    let mut declared = read.unwrap().unwrap();
    declared.properties = properties;
    let Ok(Opened::Ready(entry, about)) = opener.open(&declared, &server.metrics).await else {
        panic!("it opens");
    };
    assert!(matches!(entry, Entry::Pubsub(_)));
    server
        .components
        .store(Arc::new(Components::new(vec![entry], vec![about], Vec::new())));
    server.subscriptions.ring();
}

/// Publishes until it arrives, or says that it does not.
async fn arrives(server: &Server, received: &mut mpsc::UnboundedReceiver<String>) -> bool {
    for _ in 0..20 {
        let request = PublishRequest {
            topic: "t".into(),
            data: r#"{"id":"1","traceparent":"nonsense"}"#.into(),
            ..PublishRequest::default()
        };
        let entry = server.components.load().pubsub("events").cloned().unwrap();
        entry.component.publish(request).await.unwrap();
        if let Ok(Some(request)) = timeout(Duration::from_millis(50), received.recv()).await {
            assert!(
                request.contains("content-type: application/cloudevents+json"),
                "{request}"
            );
            assert!(request.contains("pubsubname: events") && request.ends_with(r#""traceparent":"nonsense"}"#));
            return true;
        }
    }
    false
}

#[tokio::test]
async fn subscriptions_follow_components_and_the_application() {
    let server = server();
    component(&server, Properties::new()).await;
    let (looked, first) = oneshot::channel();
    let stop = Shutdown::new();
    let mut tasks = Tasks::new();
    tasks.spawn("keeper", keep(server.clone(), looked, stop.clone()));
    first.await.unwrap();
    let (app, mut received) = application().await;
    assert!(!arrives(&server, &mut received).await, "nobody is there yet");

    server.app.store(Some(app.clone()));
    server.subscriptions.ring();
    assert!(arrives(&server, &mut received).await);
    assert_eq!(server.subscriptions.all(&[]).len(), 1, "metadata tells it");

    component(&server, Properties::new()).await;
    assert!(
        arrives(&server, &mut received).await,
        "a replaced component is subscribed to anew"
    );

    component(&server, [("subscriptionScopes", "orders=other")].into_iter().collect()).await;
    while received.try_recv().is_ok() {}
    assert!(!arrives(&server, &mut received).await, "the scope says no");

    component(&server, Properties::new()).await;
    assert!(arrives(&server, &mut received).await);
    server.app.store(None);
    server.subscriptions.ring();
    sleep(Duration::from_millis(200)).await;
    while received.try_recv().is_ok() {}
    assert!(!arrives(&server, &mut received).await, "nobody is there any more");

    stop.trigger();
    tasks.drain(Duration::from_secs(5)).await.unwrap();
}
