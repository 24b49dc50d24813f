//! Publishing to a bus whose answers are written down beforehand.

use std::collections::VecDeque;
use std::sync::Mutex;

use palladium_component::pubsub::{Feature, Features, PubSub, SubscribeRequest, Subscription};
use palladium_component::{Properties, PubsubError, Reply};
use palladium_engine_pubsub::PubsubComponent;
use palladium_engine_resiliency::{ComponentKind, Direction, Policy, Resiliency};
use serde_json::{Value, json};

use super::*;
use crate::testing::server;

/// What the bus was given: topic and data, in order; and what it answers: failures by entry, or a failure of everything.
#[derive(Default)]
struct Bus {
    given: Mutex<Vec<(String, Value, Metadata)>>,
    answers: Mutex<VecDeque<Result<Vec<&'static str>, PubsubError>>>,
}

impl Bus {
    fn given(&self) -> Vec<(String, Value, Metadata)> {
        std::mem::take(&mut *self.given.lock().unwrap())
    }
}

impl PubSub for Bus {
    fn features(&self) -> Features {
        Features::NONE.with(Feature::BulkPublish)
    }
    fn publish<'a>(&'a self, request: &'a PublishRequest) -> Reply<'a, (), PubsubError> {
        let data = serde_json::from_slice(&request.data).unwrap_or_default();
        let given = (request.topic.clone(), data, request.metadata.clone());
        self.given.lock().unwrap().push(given);
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(Vec::new()));
        Reply::ready(answer.map(drop))
    }
    fn bulk_publish<'a>(&'a self, request: &'a BulkPublishRequest) -> Reply<'a, Vec<BulkPublishFailure>, PubsubError> {
        let ids: Vec<&str> = request.entries.iter().map(|entry| entry.entry_id.as_str()).collect();
        let given = (request.topic.clone(), json!(ids.join("+")), Metadata::new());
        self.given.lock().unwrap().push(given);
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Ok(Vec::new()));
        let failure = |id: &str| BulkPublishFailure {
            entry_id: id.to_owned(),
            error: PubsubError::Other("no".to_owned()),
        };
        Reply::ready(answer.map(|ids| ids.into_iter().map(failure).collect()))
    }
    fn subscribe(&self, _: SubscribeRequest) -> Reply<'_, Subscription, PubsubError> {
        Reply::wait(std::future::pending())
    }
    fn close(&self) -> Reply<'_, (), PubsubError> {
        Reply::ready(Ok(()))
    }
}

fn component(answers: Vec<Result<Vec<&'static str>, PubsubError>>) -> (PubsubComponent, Arc<Bus>) {
    let bus = Arc::new(Bus {
        answers: Mutex::new(answers.into()),
        ..Bus::default()
    });
    let properties: Properties = [("publishingScopes", "orders=t")].into_iter().collect();
    let component = PubsubComponent::new("ps", "orders", None, &properties, bus.clone());
    (component, bus)
}

fn entry(server: &Server) -> (PubsubEntry, Arc<Bus>) {
    let (component, bus) = component(Vec::new());
    let entry = PubsubEntry {
        component: Arc::new(component),
        metrics: server.metrics.pubsub("ps"),
    };
    (entry, bus)
}

fn message(topic: &str, metadata: &[(&str, &str)]) -> Single {
    Single {
        topic: topic.to_owned(),
        data: r#"{"n":1}"#.into(),
        content_type: "application/json".to_owned(),
        metadata: pairs(metadata),
        trace: Trace {
            parent: "tp".to_owned(),
            state: String::new(),
        },
        trace_beside: true,
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Metadata {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_message_has_an_envelope_unless_it_is_not_wanted() {
    let server = server();
    let (entry, bus) = entry(&server);
    assert!(single(&server, &entry, Protocol::Http, message("t", &[])).await.is_ok());
    let (topic, data, _) = bus.given().remove(0);
    assert_eq!(
        (topic.as_str(), &data["data"], &data["traceid"]),
        ("t", &json!({"n": 1}), &json!("tp"))
    );
    let raw = message("t", &[("rawPayload", "true")]);
    assert!(single(&server, &entry, Protocol::Http, raw).await.is_ok());
    let (_, data, metadata) = bus.given().remove(0);
    assert_eq!((data, metadata["traceid"].as_str()), (json!({"n": 1}), "tp"));
    for (call, tag) in [
        (message("other", &[]), "ERR_PUBSUB_FORBIDDEN"),
        (message("t", &[("rawPayload", "maybe")]), "ERR_PUBSUB_REQUEST_METADATA"),
    ] {
        let error = single(&server, &entry, Protocol::Http, call).await.unwrap_err();
        assert_eq!(error.report().tag, tag);
    }
    assert!(bus.given().is_empty());
}

#[tokio::test]
async fn entries_need_names_of_their_own() {
    let server = server();
    let (entry, bus) = entry(&server);
    let call = |ids: &[&str]| Bulk {
        topic: "t".to_owned(),
        metadata: Metadata::new(),
        trace: Trace::default(),
        entries: ids
            .iter()
            .map(|id| BulkEntry {
                entry_id: (*id).to_owned(),
                ..BulkEntry::default()
            })
            .collect(),
        spans: None,
    };
    for bad in [&["1", "1"][..], &[""]] {
        let error = bulk(&server, &entry, Protocol::Http, call(bad)).await.unwrap_err();
        assert_eq!(error.report().tag, "ERR_PUBSUB_EVENTS_SER");
    }
    assert!(bus.given().is_empty());
    assert!(
        bulk(&server, &entry, Protocol::Http, call(&["1", "2"]))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(bus.given()[0].1, json!("1+2"));
}

fn policy(codes: &str) -> Policy {
    let mut all = Resiliency::default();
    let spec = json!({
        "policies": { "retries": { "r": {
            "policy": "constant", "duration": "10ms", "maxRetries": 2, "matching": { "httpStatusCodes": codes },
        } } },
        "targets": { "components": { "ps": { "outbound": { "retry": "r" } } } },
    });
    all.add("test", "", spec).unwrap();
    all.component("ps", ComponentKind::Pubsub, Direction::Outbound)
}

fn away() -> PubsubError {
    PubsubError::Unavailable("away".to_owned())
}

fn request() -> BulkPublishRequest {
    let entries = ["1", "2", "3"].map(|id| BulkEntry {
        entry_id: id.to_owned(),
        ..BulkEntry::default()
    });
    BulkPublishRequest {
        topic: "t".to_owned(),
        entries: entries.into(),
        ..BulkPublishRequest::default()
    }
}

/// What the bus was given, and which entries it does not have in the end.
async fn many(policy: &Policy, answers: Vec<Result<Vec<&'static str>, PubsubError>>) -> (Vec<Value>, Vec<String>) {
    let (component, bus) = component(answers);
    let failures = policed::many(&component, Protocol::Http, policy, request()).await;
    let failed = failures.unwrap().into_iter().map(|one| one.entry_id);
    (bus.given().into_iter().map(|given| given.1).collect(), failed.collect())
}

#[tokio::test(start_paused = true)]
async fn of_many_only_what_failed_is_published_again() {
    let all = json!("1+2+3");
    let (given, failed) = many(&policy(""), vec![Ok(vec!["1", "3"]), Err(away()), Ok(vec!["3"])]).await;
    assert_eq!(given, [all.clone(), json!("1+3"), json!("1+3")]);
    assert_eq!(failed, ["3"]);
    let (given, failed) = many(&policy(""), vec![Ok(vec!["2"])]).await;
    assert!(given == [all.clone(), json!("2")] && failed.is_empty(), "{given:?}");
    let (given, failed) = many(&policy(""), vec![Ok(vec!["2"]), Err(away()), Err(away())]).await;
    assert_eq!((given.len(), failed), (3, vec!["2".to_owned()]));
    let (given, failed) = many(&Policy::default(), vec![Err(away())]).await;
    assert_eq!((given, failed.len()), (vec![all.clone()], 3), "nobody knows of any");
    let (given, failed) = many(&policy("500"), vec![Err(away())]).await;
    assert_eq!((given, failed.len()), (vec![all], 3), "that code is not repeated");
}

#[tokio::test(start_paused = true)]
async fn one_is_published_again_as_the_policy_says() {
    let one = |answers| async {
        let (component, bus) = component(answers);
        let request = PublishRequest {
            topic: "t".to_owned(),
            ..PublishRequest::default()
        };
        let outcome = policed::one(&component, Protocol::Http, &policy(""), request).await;
        (bus.given().len(), outcome.is_ok())
    };
    assert_eq!(one(vec![Err(away()), Ok(Vec::new())]).await, (2, true));
    assert_eq!(one(vec![Err(away()), Err(away()), Err(away())]).await, (3, false));
    assert_eq!(one(vec![Err(PubsubError::Closed)]).await, (1, false));
}
