//! A Dapr Server of the platform's, an application behind an address, and what happens when either changes; and which of many
//! subscriptions a change concerns.

use palladium_engine_pubsub::PublishRequest;
use tokio::sync::mpsc;

use super::*;
use crate::testing::{nobody, open, server, use_components};

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

/// Some subscriptions, by topic and route; of one topic there are two.
fn wanted(said: &[(String, &str)], entry: &Arc<PubsubEntry>, to: &To) -> Vec<Wanted> {
    let wanted = said.iter().map(|(topic, route)| Wanted {
        spec: Spec {
            pubsub: "events".into(),
            topic: topic.clone(),
            rules: vec![(String::new(), (*route).to_owned())],
            ..Spec::default()
        },
        entry: entry.clone(),
        to: to.clone(),
    });
    wanted.collect()
}

/// As if it had been started.
fn started(wanted: Wanted) -> Running {
    Running {
        spec: wanted.spec,
        component: wanted.entry.component.clone(),
        to: wanted.to,
        stop: Shutdown::new(),
        ended: Arc::default(),
        tasks: Tasks::new(),
    }
}

/// Topic and route, in order.
fn named<'a>(specs: impl Iterator<Item = &'a Spec>) -> Vec<(&'a str, &'a str)> {
    let mut named: Vec<_> = specs
        .map(|spec| (spec.topic.as_str(), spec.rules[0].1.as_str()))
        .collect();
    named.sort_unstable();
    named
}

#[tokio::test]
async fn of_many_subscriptions_those_that_changed_are_ended_and_begun_and_no_other() {
    let server = server();
    component(&server, &[]).await;
    let entry = server.components.load().pubsub("events").cloned().unwrap();
    let to = To::Application(nobody().await);
    let topics = (0..200).map(|number| format!("t{number:03}"));
    let mut said: Vec<(String, &str)> = topics.flat_map(|topic| [(topic.clone(), "a"), (topic, "b")]).collect();
    let mut keeper = Keeper {
        server,
        running: wanted(&said, &entry, &to).into_iter().map(started).collect(),
        asked: None,
    };
    let (gone, missing) = keeper.compare(wanted(&said, &entry, &to));
    assert!(gone.is_empty() && missing.is_empty() && keeper.running.len() == 400);

    // Of each topic the other one goes on.
    for (topic, route) in &mut said {
        match (topic.as_str(), *route) {
            ("t010", "a") => *route = "changed",
            ("t020", "b") => *topic = "moved".to_owned(),
            _ => {}
        }
    }
    said.retain(|(topic, route)| (topic.as_str(), *route) != ("t030", "a"));
    said.push(("t040".to_owned(), "added"));
    // The order in which they are wanted means nothing.
    said.reverse();
    let (gone, missing) = keeper.compare(wanted(&said, &entry, &to));
    let ended = [("t010", "a"), ("t020", "b"), ("t030", "a")];
    assert_eq!(named(gone.iter().map(|one| &one.spec)), ended);
    let begun = [("moved", "b"), ("t010", "changed"), ("t040", "added")];
    assert_eq!(named(missing.iter().map(|one| &one.spec)), begun);
    assert_eq!(keeper.running.len(), 397);
    keeper.running.extend(missing.into_iter().map(started));
    let (gone, missing) = keeper.compare(wanted(&said, &entry, &to));
    assert!(gone.is_empty() && missing.is_empty(), "nothing has changed since");

    // One that its component has ended is begun again.
    keeper.running[7].ended.store(true, Ordering::Release);
    let over = keeper.running[7].spec.clone();
    let (gone, missing) = keeper.compare(wanted(&said, &entry, &to));
    assert!(gone.len() == 1 && gone[0].spec == over && missing.len() == 1 && missing[0].spec == over);
    // Another application is another receiver, and nothing of the old one goes on.
    let other = To::Application(nobody().await);
    let (gone, missing) = keeper.compare(wanted(&said, &entry, &other));
    assert_eq!((gone.len(), missing.len(), keeper.running.len()), (399, 400, 0));
}
