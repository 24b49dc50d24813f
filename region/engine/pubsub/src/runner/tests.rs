//! Every way in which a message can end, over a driver and an application of the test's own.

use std::collections::VecDeque;
use std::sync::Mutex;

use palladium_component::pubsub::{Features, PubSub, Settled, SubscribeRequest, Supply, supply};
use palladium_component::{Properties, PubsubError, Reply};

use super::*;
use crate::Batching;

/// Takes what is published; the test plays the broker.
#[derive(Default)]
struct Broker {
    published: Mutex<Vec<PublishRequest>>,
    refuse: bool,
}

impl PubSub for Broker {
    fn features(&self) -> Features {
        Features::NONE
    }
    fn publish<'a>(&'a self, request: &'a PublishRequest) -> Reply<'a, (), PubsubError> {
        if self.refuse {
            return Reply::ready(Err(PubsubError::Unavailable("down".into())));
        }
        self.published.lock().unwrap().push(request.clone());
        Reply::ready(Ok(()))
    }
    fn subscribe(&self, _: SubscribeRequest) -> Reply<'_, Subscription, PubsubError> {
        Reply::ready(Err(PubsubError::NotSupported("not asked for".into())))
    }
    fn close(&self) -> Reply<'_, (), PubsubError> {
        Reply::ready(Ok(()))
    }
}

/// Answers with what it is told, in order.
#[derive(Clone, Default)]
struct App {
    answers: Arc<Mutex<VecDeque<Verdict>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl App {
    fn answer(&self, seen: String) -> Verdict {
        self.seen.lock().unwrap().push(seen);
        self.answers.lock().unwrap().pop_front().unwrap_or(Verdict::Success)
    }
}

impl Deliver for App {
    async fn deliver(&self, incoming: &Incoming) -> Verdict {
        self.answer(format!(
            "{} {}",
            incoming.path,
            incoming.event.text("id").unwrap_or_default()
        ))
    }
    async fn deliver_bulk(&self, bulk: &BulkEvent) -> Vec<Verdict> {
        let one = |item: &crate::BulkItem| {
            self.answer(format!("{} {}", bulk.path, item.event.text("id").unwrap_or_default()))
        };
        // The last one gets no answer.
        let answered = bulk.entries.len().saturating_sub(usize::from(bulk.entries.len() > 1));
        bulk.entries.iter().map(one).take(answered).collect()
    }
}

struct Bench {
    broker: Arc<Broker>,
    supply: Supply,
    app: App,
    stop: Shutdown,
}

fn bench(spec: Spec, properties: &[(&str, &str)], refuse: bool) -> Bench {
    let broker = Arc::new(Broker {
        refuse,
        ..Broker::default()
    });
    let properties: Properties = properties.iter().copied().collect();
    let component = Arc::new(PubsubComponent::new(
        "ps",
        "me",
        Some("ns."),
        &properties,
        broker.clone(),
    ));
    let (supply, subscription) = supply(10);
    let (app, stop) = (App::default(), Shutdown::new());
    let running = run(component, spec, app.clone(), subscription, stop.clone()).unwrap();
    assert!(size_of_val(&running) < 2 << 10, "each subscription has one");
    tokio::spawn(running);
    Bench {
        broker,
        supply,
        app,
        stop,
    }
}

fn spec(rules: &[(&str, &str)], dead_letter_topic: &str) -> Spec {
    Spec {
        pubsub: "ps".into(),
        topic: "t".into(),
        rules: rules
            .iter()
            .map(|(condition, path)| ((*condition).into(), (*path).into()))
            .collect(),
        dead_letter_topic: dead_letter_topic.into(),
        ..Spec::default()
    }
}

impl Bench {
    async fn send(&self, data: &str) -> Settled {
        let message = Message {
            topic: "ns.t".into(),
            data: data.to_owned().into(),
            ..Message::default()
        };
        self.supply.deliver(message).await.unwrap()
    }

    async fn outcome(&self, data: &str, answer: Verdict) -> Option<Outcome> {
        self.app.answers.lock().unwrap().push_back(answer);
        let settled = self.send(data).await;
        timeout(Duration::from_secs(5), settled.outcome()).await.unwrap()
    }

    fn letters(&self) -> Vec<String> {
        let published = self.broker.published.lock().unwrap();
        published.iter().map(|one| one.topic.clone()).collect()
    }
}

const EVENT: &str = r#"{"id":"1","type":"a"}"#;

#[tokio::test]
async fn the_applications_word_counts() {
    let bench = bench(spec(&[("", "/p")], ""), &[], false);
    assert_eq!(bench.outcome(EVENT, Verdict::Success).await, Some(Outcome::Done));
    assert_eq!(bench.outcome(EVENT, Verdict::Drop).await, Some(Outcome::Done));
    assert_eq!(
        bench.outcome(EVENT, Verdict::Retry("x".into())).await,
        Some(Outcome::Failed)
    );
    assert_eq!(bench.outcome(EVENT, Verdict::Closed).await, None);
    assert_eq!(*bench.app.seen.lock().unwrap(), ["/p 1", "/p 1", "/p 1", "/p 1"]);
    assert!(bench.letters().is_empty());
}

#[tokio::test]
async fn a_dead_letter_takes_the_place_of_a_failure_when_it_is_taken() {
    let good = bench(spec(&[("", "/p")], "dead"), &[], false);
    assert_eq!(good.outcome(EVENT, Verdict::Success).await, Some(Outcome::Done));
    assert!(good.letters().is_empty());
    for answer in [Verdict::Drop, Verdict::Retry("x".into())] {
        assert_eq!(good.outcome(EVENT, answer).await, Some(Outcome::Done));
    }
    assert_eq!(good.outcome("no envelope", Verdict::Success).await, Some(Outcome::Done));
    assert_eq!(good.letters(), ["ns.dead", "ns.dead", "ns.dead"]);
    let letter = good.broker.published.lock().unwrap()[0].clone();
    assert!(letter.data == EVENT && letter.metadata[PUBSUB_NAME] == "ps");

    let down = bench(spec(&[("", "/p")], "dead"), &[], true);
    assert_eq!(down.outcome(EVENT, Verdict::Drop).await, Some(Outcome::Failed));
    let scoped = bench(spec(&[("", "/p")], "dead"), &[("publishingScopes", "me=other")], false);
    assert_eq!(
        scoped.outcome(EVENT, Verdict::Drop).await,
        Some(Outcome::Failed),
        "scopes hold for dead letters"
    );
}

#[tokio::test]
async fn what_no_rule_wants_or_is_too_old_is_dropped_unseen() {
    let bench = bench(spec(&[("event.type == 'b'", "/b")], ""), &[], false);
    let old = r#"{"id":"2","type":"b","expiration":"2001-01-01T00:00:00Z"}"#;
    for event in [EVENT, old] {
        assert_eq!(
            timeout(Duration::from_secs(5), bench.send(event).await.outcome())
                .await
                .unwrap(),
            Some(Outcome::Done)
        );
    }
    for event in ["{}", "x"] {
        let outcome = bench.send(event).await.outcome().await;
        assert_eq!(
            outcome,
            Some(Outcome::Failed),
            "{event}: no answer of the rule, or no envelope"
        );
    }
    assert!(bench.app.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn at_the_end_nothing_more_is_taken() {
    let bench = bench(spec(&[("", "/p")], ""), &[], false);
    bench.stop.trigger();
    timeout(Duration::from_secs(5), bench.supply.unwanted()).await.unwrap();
    assert!(bench.supply.deliver(Message::default()).await.is_none());
}

#[tokio::test]
async fn a_batch_is_judged_one_by_one() {
    let mut bulk = spec(&[("event.type == 'a'", "/a"), ("", "/b")], "");
    bulk.bulk = Some(Batching {
        max_messages: 5,
        max_await_ms: 60_000,
    });
    let bench = bench(bulk, &[], false);
    bench
        .app
        .answers
        .lock()
        .unwrap()
        .extend([Verdict::Success, Verdict::Retry("x".into())]);
    let mut sent = Vec::new();
    for (id, kind) in [("1", "a"), ("2", "b"), ("3", "a"), ("4", "a"), ("5", "b")] {
        sent.push(bench.send(&format!(r#"{{"id":"{id}","type":"{kind}"}}"#)).await);
    }
    let mut outcomes = Vec::new();
    for settled in sent {
        outcomes.push(timeout(Duration::from_secs(5), settled.outcome()).await.unwrap());
    }
    let (done, failed) = (Some(Outcome::Done), Some(Outcome::Failed));
    assert_eq!(outcomes, [done, done, failed, failed, failed], "4 and 5 had no answer");
    assert_eq!(*bench.app.seen.lock().unwrap(), ["/a 1", "/a 3", "/b 2"]);
}

#[tokio::test]
async fn a_batch_as_json_keeps_its_events() {
    let event = |raw: bool| {
        let message = Message {
            data: r#"{"id":"1","data":1.10}"#.into(),
            ..Message::default()
        };
        let bulk = BulkEvent {
            id: "i".into(),
            kind: "k",
            topic: "t".into(),
            pubsub: "ps".into(),
            path: "/p".into(),
            metadata: Metadata::new(),
            raw,
            entries: vec![crate::BulkItem {
                entry_id: "e".into(),
                event: Event::read(&message, raw, "t", "ps").unwrap(),
                message,
                content_type: "c".into(),
            }],
        };
        String::from_utf8(crate::entries_json(&bulk).unwrap().to_vec()).unwrap()
    };
    assert_eq!(
        event(false),
        r#"{"entries":[{"contentType":"c","entryId":"e","event":{"id":"1","data":1.10},"metadata":{}}],"id":"i","metadata":{},"pubsubname":"ps","topic":"t","type":"k"}"#
    );
    assert!(event(true).contains(r#""event":"eyJpZCI6IjEiLCJkYXRhIjoxLjEwfQ==""#));
}
