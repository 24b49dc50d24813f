//! Many events in one delivery, under a policy.

use std::collections::VecDeque;

use palladium_engine_pubsub::{BulkItem, Message, Metadata};
use serde_json::{Value, json};

use super::*;
use crate::entry::Entry;
use crate::resiliency;
use crate::resources::ResiliencyResource;
use crate::testing::{application, open, server};

fn bulk(ids: &[&str]) -> BulkEvent {
    let item = |id: &&str| {
        let message = Message {
            data: json!({ "id": id }).to_string().into(),
            ..Message::default()
        };
        BulkItem {
            entry_id: (*id).to_owned(),
            event: Event::read(&message, false, "t", "events").unwrap(),
            message,
            content_type: "application/cloudevents+json".to_owned(),
        }
    };
    BulkEvent {
        id: "1".to_owned(),
        kind: "test",
        topic: "t".to_owned(),
        pubsub: "events".to_owned(),
        path: "/bulk".to_owned(),
        metadata: Metadata::new(),
        raw: false,
        entries: ids.iter().map(item).collect(),
    }
}

/// Delivers `a`, `b` and `c` to an application whose answers are written down; which ids came each time, and the verdicts.
async fn delivered(answers: Vec<(u16, Value)>) -> (Vec<String>, Vec<Verdict>) {
    let server = server();
    let spec = json!({
        "policies": { "retries": { "r": { "policy": "constant", "duration": "1ms", "maxRetries": 2 } } },
        "targets": { "components": { "events": { "inbound": { "retry": "r" } } } },
    });
    let unusable = resiliency::load(
        &server,
        vec![ResiliencyResource {
            name: "test".to_owned(),
            namespace: String::new(),
            spec,
        }],
    );
    assert!(unusable.is_empty());
    let came = Arc::new(Mutex::new(Vec::new()));
    let (seen, answers) = (came.clone(), Mutex::new(VecDeque::from(answers)));
    let app = application(move |request| {
        let body = request.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let body: Value = serde_json::from_str(body).unwrap();
        let ids = body["entries"].as_array().unwrap().iter();
        let ids: Vec<&str> = ids.map(|entry| entry["entryId"].as_str().unwrap()).collect();
        seen.lock().unwrap().push(ids.join("+"));
        let (status, statuses) = answers.lock().unwrap().pop_front().expect("no more calls than answers");
        std::future::ready((status, json!({ "statuses": statuses }).to_string()))
    });
    let (Entry::Pubsub(entry), _) = open(&server, "events", "pubsub.in-memory", &[]).await else {
        panic!("a pub/sub component")
    };
    let to = ToApplication {
        app: app.await,
        entry,
        policies: server.resiliency.clone(),
    };
    let verdicts = to.deliver_bulk(&bulk(&["a", "b", "c"])).await;
    let came = came.lock().unwrap().clone();
    (came, verdicts)
}

fn said(statuses: &[(&str, &str)]) -> Value {
    let one = |(id, status): &(&str, &str)| json!({ "entryId": id, "status": status });
    statuses.iter().map(one).collect()
}

#[tokio::test]
async fn only_what_failed_is_delivered_again() {
    let (came, verdicts) = delivered(vec![
        (200, said(&[("a", "SUCCESS"), ("b", "RETRY"), ("c", "DROP")])),
        (200, said(&[("b", "SUCCESS")])),
    ])
    .await;
    assert_eq!(came, ["a+b+c", "b"]);
    assert_eq!(verdicts, [Verdict::Success, Verdict::Success, Verdict::Drop]);
}

#[tokio::test]
async fn what_fails_to_the_end_is_told_for_each() {
    let (came, verdicts) = delivered(vec![
        (500, Value::Null),
        (200, said(&[("a", "SUCCESS")])),
        (200, said(&[("b", "RETRY"), ("c", "SUCCESS")])),
    ])
    .await;
    assert_eq!(came, ["a+b+c", "a+b+c", "b+c"]);
    assert!(
        matches!(&verdicts[..], [Verdict::Success, Verdict::Retry(_), Verdict::Success]),
        "{verdicts:?}"
    );
}
