//! Plans, promises and letters, beside what Dapr 1.18 makes of the same operations.

use palladium_component::state::DeleteRequest;
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

fn outbox(pairs: &[(&'static str, &'static str)]) -> Option<Outbox> {
    Outbox::read(&pairs.iter().copied().collect())
}

fn plain() -> Outbox {
    outbox(&[("outboxPublishPubsub", "ps"), ("outboxPublishTopic", "orders")]).unwrap()
}

fn set(key: &str, value: &str, form: ValueForm, metadata: &[(&str, &str)]) -> Operation {
    Operation::Set(SetRequest {
        key: key.to_owned(),
        value: value.to_owned().into(),
        form,
        metadata: metadata
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..SetRequest::default()
    })
}

fn plan(operations: Vec<Operation>) -> Plan {
    let trace = Trace {
        parent: "tp".to_owned(),
        state: "ts".to_owned(),
    };
    plain().plan("app", "ns", &trace, operations).unwrap()
}

/// The one promise of one operation, without its time.
fn promised(operation: Operation) -> Map<String, Value> {
    let plan = plan(vec![operation]);
    let mut envelope: Map<String, Value> = serde_json::from_slice(&plan.promises[0].request.data).unwrap();
    assert!(envelope.remove("time").is_some());
    assert_eq!(envelope.remove("id").unwrap(), plan.promises[0].key.as_str());
    envelope
}

#[test]
fn metadata_say_whether_there_is_one() {
    let full = outbox(&[
        ("outboxPublishPubsub", "a"),
        ("outboxPublishTopic", "t"),
        ("outboxPubsub", "b"),
        ("outboxDiscardWhenMissingState", "Yes"),
    ]);
    let full = full.unwrap();
    assert_eq!((full.pubsub.as_str(), full.discards), ("b", true));
    assert_eq!(full.topic("app", "ns"), "nsapptoutbox");
    assert_eq!((plain().pubsub.as_str(), plain().discards), ("ps", false));
    for missing in [&[("outboxPublishPubsub", "a")][..], &[("outboxPublishTopic", "t")], &[]] {
        assert_eq!(outbox(missing), None);
    }
}

#[test]
fn a_promise_is_daprs_message() {
    let operation = set(
        "app||k",
        "2",
        ValueForm::Binary,
        &[("data", "a"), ("id", "b"), ("own", "c")],
    );
    let expected = json!({
        "specversion": "1.0", "datacontenttype": "text/plain", "source": "app", "type": "com.dapr.event.sent",
        "topic": "", "pubsubname": "ps", "traceid": "tp", "traceparent": "", "tracestate": "ts", "data": "2",
        "own": "c",
    });
    assert_eq!(Value::Object(promised(operation)), expected);
    let json = [("contentType", "application/json")];
    let of_json = promised(set("k", r#"{"a":1.0}"#, ValueForm::Json, &json));
    assert_eq!(of_json["data"], json!({"a": 1.0}));
    let octets = [("contentType", "application/octet-stream")];
    assert_eq!(
        promised(set("k", "hi", ValueForm::Binary, &octets))["data_base64"],
        "aGk="
    );
}

#[test]
fn a_value_that_is_not_said_to_be_json_is_what_go_prints() {
    for (value, expected) in [
        (r#""2""#, "2"),
        ("1", "1"),
        ("1.5", "1.5"),
        ("100000", "100000"),
        ("1000000", "1e+06"),
        ("123456789", "1.23456789e+08"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("-12", "-12"),
        ("null", "<nil>"),
        ("true", "true"),
        (r#"[1,"a",[]]"#, "[1 a []]"),
        (r#"{"b":1,"a":{"c":"d"}}"#, "map[a:map[c:d] b:1]"),
    ] {
        assert_eq!(
            promised(set("k", value, ValueForm::Json, &[]))["data"],
            expected,
            "{value}"
        );
    }
}

#[test]
fn what_is_projected_is_published_and_not_stored() {
    let plan = plan(vec![
        set("k", "2", ValueForm::Binary, &[("own", "c")]),
        set("k", "3", ValueForm::Binary, &[(PROJECTION, "true"), ("other", "d")]),
        Operation::Delete(DeleteRequest {
            key: "gone".to_owned(),
            ..DeleteRequest::default()
        }),
        set("l", "4", ValueForm::Binary, &[(PROJECTION, "false")]),
        set("nobody", "5", ValueForm::Binary, &[(PROJECTION, "1")]),
    ]);
    let stored: Vec<&str> = plan.operations.iter().map(Operation::key).collect();
    assert_eq!(stored[..3], ["k", "gone", "l"]);
    let names: Vec<&str> = plan.promises.iter().map(|promise| promise.key.as_str()).collect();
    assert_eq!(stored[3..], names);
    let datas = plan.promises.iter().map(|promise| {
        let envelope: Value = serde_json::from_slice(&promise.request.data).unwrap();
        (
            envelope["data"].clone(),
            envelope.get("own").is_some(),
            envelope.get("other").is_some(),
        )
    });
    let expected = [(json!("3"), true, false), (json!("4"), false, false)];
    assert_eq!(
        datas.collect::<Vec<_>>(),
        expected,
        "beside it travels what the stored one says"
    );
    assert!(
        plan.promises
            .iter()
            .all(|promise| promise.request.topic == "nsappordersoutbox")
    );
}

#[test]
fn a_letter_is_the_promise_under_the_names_of_its_topic() {
    let plan = plan(vec![set("k", "2", ValueForm::Binary, &[])]);
    let promise = &plan.promises[0].request.data;
    assert_eq!(Outbox::key(promise).as_ref(), Ok(&plan.promises[0].key));
    let letter = plain().letter(promise).unwrap();
    assert_eq!(
        (letter.topic.as_str(), letter.content_type.as_deref()),
        ("orders", Some("text/plain"))
    );
    let (mut before, after): (Value, Value) = (
        serde_json::from_slice(promise).unwrap(),
        serde_json::from_slice(&letter.data).unwrap(),
    );
    before["topic"] = json!("orders");
    before["pubsubname"] = json!("ps");
    assert_eq!(before, after);
}

#[test]
fn the_name_is_of_one_message_only() {
    let plan = plan(vec![set("k", "2", ValueForm::Binary, &[])]);
    let promise = &plan.promises[0].request.data;
    let Operation::Set(mark) = &plan.operations[1] else {
        panic!("a set has a name")
    };
    assert_eq!((&mark.key, mark.form), (&plan.promises[0].key, ValueForm::Json));
    assert!(serde_json::from_slice::<String>(&mark.value).is_ok_and(|digest| digest.len() == 64));
    assert!(Outbox::is_kept(promise, &mark.value, false) && Outbox::is_kept(promise, &mark.value, true));
    // Another message under the same id, as one who reads along could write it.
    let mut forged: Value = serde_json::from_slice(promise).unwrap();
    forged["data"] = json!("3");
    let forged = serde_json::to_vec(&forged).unwrap();
    assert_eq!(Outbox::key(&forged).as_ref(), Ok(&plan.promises[0].key));
    for or_daprs in [false, true] {
        assert!(!Outbox::is_kept(&forged, &mark.value, or_daprs));
        assert!(!Outbox::is_kept(promise, b"", or_daprs));
    }
    // What daprd wrote counts where it may be there.
    for found in [&b"\"0\""[..], b"0"] {
        assert!(Outbox::is_kept(promise, found, true) && !Outbox::is_kept(promise, found, false));
    }
}

#[test]
fn no_message_names_a_key_of_an_application() {
    for bad in [
        "",
        "[]",
        "{}",
        r#"{"id":1}"#,
        r#"{"id":"app||orders"}"#,
        r#"{"id":"outbox-"}"#,
        r#"{"id":"outbox-1"}"#,
        r#"{"id":"app||outbox-0e4f1fd5-3a4b-4c4e-8a0e-6b2f3b0f0f0f"}"#,
    ] {
        assert!(Outbox::key(bad.as_bytes()).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn every_set_has_one_promise_and_one_name(values in prop::collection::vec(".{0,20}", 0..8)) {
        let operations = values.iter().enumerate().map(|(at, value)| {
            set(&at.to_string(), value, ValueForm::Binary, &[("source", "elsewhere")])
        });
        let plan = plan(operations.collect());
        prop_assert_eq!(plan.promises.len(), values.len());
        prop_assert_eq!(plan.operations.len(), 2 * values.len());
        for promise in &plan.promises {
            let key = Outbox::key(&promise.request.data);
            prop_assert_eq!(key.as_ref(), Ok(&promise.key));
        }
    }

    #[test]
    fn no_message_panics(data in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = (Outbox::key(&data), plain().letter(&data));
    }
}
