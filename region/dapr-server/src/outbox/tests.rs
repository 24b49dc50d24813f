//! Transactions over stores and buses in memory, and what becomes of their promises.

use std::sync::atomic::{AtomicBool, Ordering};

use palladium_component::pubsub::{Features, PubSub, PublishRequest, SubscribeRequest, Subscription};
use palladium_component::state::SetRequest;
use palladium_component::{Properties, Reply};
use palladium_engine_pubsub::{Event, Message, PubsubComponent, Spec};
use palladium_tasks::Tasks;
use tokio::sync::oneshot;

use super::*;
use crate::entry::Entry;
use crate::pubsub::{PubsubEntry, keeper};
use crate::server::Registered;
use crate::testing::{open, server, use_components};

const SOON: Duration = Duration::from_secs(20);
const OUTBOX: [(&str, &str); 2] = [("outboxPublishPubsub", "bus"), ("outboxPublishTopic", "t")];

fn set(key: &str, value: &str) -> Operation {
    Operation::Set(SetRequest {
        key: key.to_owned(),
        value: value.to_owned().into(),
        ..SetRequest::default()
    })
}

fn state(server: &Server) -> Arc<StateEntry> {
    server.components.load().state("kv", "orders").unwrap().clone()
}

/// Whether the application's key is in the store.
async fn has(server: &Server, key: &str) -> bool {
    let request = GetRequest {
        key: key.to_owned(),
        ..GetRequest::default()
    };
    let found = state(server).component.get(&Default::default(), request).await;
    found.unwrap().value.is_some()
}

async fn transact_now(server: &Server, operations: Vec<Operation>) -> Result<(), Failed> {
    transact(server, &state(server), operations, Metadata::new(), &Trace::default()).await
}

#[tokio::test]
async fn what_is_committed_is_published_and_its_key_is_gone() {
    let server = server();
    let opened = [
        open(&server, "kv", "state.in-memory", &OUTBOX).await,
        open(&server, "bus", "pubsub.in-memory", &[]).await,
    ];
    use_components(&server, opened);
    let (looked, first) = oneshot::channel();
    let stop = Shutdown::new();
    let mut tasks = Tasks::new();
    tasks.spawn("keeper", keeper::keep(server.clone(), looked, stop.clone()));
    first.await.unwrap();
    let bus = server.components.load().pubsub("bus").cloned().unwrap();
    let spec = Spec {
        topic: "t".to_owned(),
        ..Spec::default()
    };
    let mut letters = bus.component.subscribe(&spec).await.unwrap();

    assert!(transact_now(&server, vec![set("a", "1"), set("b", "2")]).await.is_ok());
    assert!(has(&server, "a").await && has(&server, "b").await);
    let (mut datas, mut keys) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let letter = timeout(SOON, letters.next()).await.expect("in time").unwrap();
        let event = Event::read(&letter.message, false, "t", "bus").unwrap();
        assert_eq!(event.text("topic").as_deref(), Some("t"));
        datas.push(event.text("data").unwrap());
        keys.push(event.text("id").unwrap());
        letter.settle(palladium_component::pubsub::Outcome::Done);
    }
    datas.sort();
    assert_eq!(datas, ["1", "2"]);
    let store = state(&server).component.store().clone();
    let gone = async {
        for key in keys {
            let request = GetRequest {
                key,
                ..GetRequest::default()
            };
            while store.get(&request).await.unwrap().value.is_some() {
                sleep(Duration::from_millis(5)).await;
            }
        }
    };
    timeout(SOON, gone).await.expect("the keys are deleted");
    assert!(state(&server).under_way.keys().is_empty());
    stop.trigger();
    tasks.drain(SOON).await.unwrap();
}

/// A bus that takes nothing while it is told so.
struct Refusing(Arc<AtomicBool>);

impl PubSub for Refusing {
    fn features(&self) -> Features {
        Features::NONE
    }
    fn publish<'a>(&'a self, _: &'a PublishRequest) -> Reply<'a, (), palladium_component::PubsubError> {
        Reply::ready(if self.0.load(Ordering::Relaxed) {
            Err(palladium_component::PubsubError::Unavailable("away".to_owned()))
        } else {
            Ok(())
        })
    }
    fn subscribe(&self, _: SubscribeRequest) -> Reply<'_, Subscription, palladium_component::PubsubError> {
        Reply::wait(std::future::pending())
    }
    fn close(&self) -> Reply<'_, (), palladium_component::PubsubError> {
        Reply::ready(Ok(()))
    }
}

#[tokio::test]
async fn nothing_is_committed_that_could_not_be_promised() {
    let server = server();
    let away = Arc::new(AtomicBool::new(true));
    let bus = Arc::new(Refusing(away.clone()));
    let bus = PubsubEntry {
        component: Arc::new(PubsubComponent::new("bus", "orders", None, &Properties::new(), bus)),
        metrics: server.metrics.pubsub("bus"),
    };
    let about = Registered {
        name: "bus".to_owned(),
        kind: "pubsub.test".to_owned(),
        version: "v1".to_owned(),
        capabilities: Vec::new(),
    };
    let kv = open(&server, "kv", "state.in-memory", &OUTBOX).await;
    use_components(&server, [kv, (Entry::Pubsub(Arc::new(bus)), about)]);
    let failed = transact_now(&server, vec![set("a", "1")]).await;
    let Err(Failed::Promise(error)) = failed else {
        panic!("it is refused")
    };
    let report = error.report();
    assert_eq!((report.http_status, report.tag.as_str()), (500, "ERR_PUBLISH_OUTBOX"));
    assert!(
        report.message.starts_with("error while publishing outbox message: "),
        "{}",
        report.message
    );
    assert!(!has(&server, "a").await);
    away.store(false, Ordering::Relaxed);
    assert!(transact_now(&server, vec![set("a", "1")]).await.is_ok());
    assert!(has(&server, "a").await);

    // Without the component nothing can be promised either.
    let kv = open(&server, "kv", "state.in-memory", &OUTBOX).await;
    use_components(&server, [kv]);
    assert!(matches!(
        transact_now(&server, vec![set("b", "1")]).await,
        Err(Failed::Promise(_))
    ));
}

/// The verdict about a promise whose transaction was not carried out, or not yet.
async fn without_commit(discards: &str, under_way: bool) -> Verdict {
    let server = server();
    let metadata = [OUTBOX[0], OUTBOX[1], ("outboxDiscardWhenMissingState", discards)];
    let kv = open(&server, "kv", "state.in-memory", &metadata).await;
    use_components(&server, [kv]);
    let entry = state(&server);
    let outbox = entry.outbox.clone().unwrap();
    let plan = outbox.plan("orders", "prj-a", &Trace::default(), vec![set("orders||a", "1")]);
    let promise = plan.unwrap().promises.remove(0);
    let _listed = under_way.then(|| entry.under_way.list([promise.key.clone()]));
    relayed(&server, promise.request.data).await
}

/// The verdict about a message of the outbox's own topic.
async fn relayed(server: &Arc<Server>, data: bytes::Bytes) -> Verdict {
    let message = Message {
        data,
        ..Message::default()
    };
    let incoming = Incoming {
        event: Event::read(&message, false, "t", "bus").unwrap(),
        topic: "own".to_owned(),
        pubsub: "bus".to_owned(),
        path: String::new(),
        metadata: Default::default(),
    };
    let relay = Relay {
        server: server.clone(),
        stores: vec![state(server)],
        stop: Shutdown::new(),
    };
    relay.deliver(&incoming).await
}

#[tokio::test(start_paused = true)]
async fn nobody_has_another_message_published_under_a_promised_name() {
    let server = server();
    let opened = [
        open(&server, "kv", "state.in-memory", &OUTBOX).await,
        open(&server, "bus", "pubsub.in-memory", &[]).await,
    ];
    use_components(&server, opened);
    let outbox = state(&server).outbox.clone().unwrap();
    let plan = outbox.plan("orders", "prj-a", &Trace::default(), vec![set("orders||a", "1")]);
    let plan = plan.unwrap();
    let store = state(&server).component.store().clone();
    for operation in &plan.operations {
        let Operation::Set(set) = operation else {
            panic!("there are only sets")
        };
        store.set(set).await.unwrap();
    }
    let (key, promise) = (&plan.promises[0].key, &plan.promises[0].request.data);
    let mark = GetRequest {
        key: key.clone(),
        ..GetRequest::default()
    };
    let forged = String::from_utf8(promise.to_vec()).unwrap();
    let forged = forged.replace(r#""data":"1""#, r#""data":"2""#);
    assert_ne!(forged.as_bytes(), &promise[..]);
    let verdict = relayed(&server, forged.into()).await;
    assert!(
        matches!(&verdict, Verdict::Retry(reason) if reason.contains("of another message")),
        "{verdict:?}"
    );
    assert!(
        store.get(&mark).await.unwrap().value.is_some(),
        "its own message needs it"
    );
    assert_eq!(relayed(&server, promise.clone()).await, Verdict::Success);
    assert_eq!(store.get(&mark).await.unwrap().value, None);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_committed_is_never_published() {
    assert!(matches!(without_commit("false", false).await, Verdict::Retry(_)));
    assert_eq!(without_commit("true", false).await, Verdict::Drop);
    let waits = without_commit("true", true).await;
    assert!(
        matches!(waits, Verdict::Retry(_)),
        "its transaction may still come: {waits:?}"
    );
}
