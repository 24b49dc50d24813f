//! What an envelope holds.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn of(content_type: &str, data: &[u8], metadata: &[(&str, &str)]) -> Result<Value, String> {
    let metadata = metadata
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    let trace = Trace {
        parent: "00-1-2-00".into(),
        state: "s=1".into(),
    };
    let draft = Draft {
        app_id: "me",
        pubsub: "ps",
        topic: "t",
        content_type,
        data,
        trace: &trace,
        metadata: &metadata,
        native_ttl: false,
    };
    envelope(&draft).map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn every_member_has_its_default() {
    let mut made = of("", b"hello", &[]).unwrap();
    let id = made["id"].take();
    let time = made["time"].take();
    assert!(
        Uuid::parse_str(id.as_str().unwrap()).is_ok()
            && OffsetDateTime::parse(time.as_str().unwrap(), &Rfc3339).is_ok()
    );
    assert_eq!(
        made,
        json!({ "data": "hello", "datacontenttype": "text/plain", "id": null, "pubsubname": "ps", "source": "me",
            "specversion": "1.0", "time": null, "topic": "t", "traceid": "00-1-2-00", "traceparent": "00-1-2-00",
            "tracestate": "s=1", "type": "com.dapr.event.sent" })
    );
}

#[test]
fn data_is_carried_as_its_type_says() {
    assert_eq!(
        of("application/json", br#" {"a": [1]} "#, &[]).unwrap()["data"],
        json!({ "a": [1] })
    );
    assert_eq!(of("application/json", b"nonsense", &[]).unwrap()["data"], "nonsense");
    assert_eq!(
        of("application/octet-stream", b"\0\x01", &[]).unwrap()["data_base64"],
        "AAE="
    );
    assert_eq!(of("foo/bar", b"{}", &[]).unwrap()["data"], "{}");
    assert_eq!(of("text/plain", b"\xff", &[]).unwrap()["data"], "\u{fffd}");
}

#[test]
fn numbers_are_carried_digit_by_digit() {
    let trace = Trace::default();
    let draft = Draft {
        app_id: "me",
        pubsub: "ps",
        topic: "t",
        content_type: "application/json",
        data: b"12345678901234567890.1234567890",
        trace: &trace,
        metadata: &Metadata::new(),
        native_ttl: false,
    };
    let text = String::from_utf8(envelope(&draft).unwrap().to_vec()).unwrap();
    assert!(text.contains(r#""data":12345678901234567890.1234567890,"#), "{text}");
}

#[test]
fn metadata_overrides_in_any_case() {
    let made = of(
        "",
        b"",
        &[
            ("CloudEvent.ID", "1"),
            ("cloudevent.source", "s"),
            ("cloudevent.type", "ty"),
            ("cloudevent.subject", "su"),
            ("cloudevent.traceid", "no"),
            ("cloudevent.traceparent", "tp"),
            ("cloudevent.topic", "ignored"),
        ],
    );
    let made = made.unwrap();
    for (name, value) in [
        ("id", "1"),
        ("source", "s"),
        ("type", "ty"),
        ("subject", "su"),
        ("topic", "t"),
    ] {
        assert_eq!(made[name], value);
    }
    assert!(made["traceid"] == "tp" && made["traceparent"] == "tp");
}

#[test]
fn an_envelope_of_the_callers_is_completed() {
    let kind = "application/cloudevents+json; charset=utf-8";
    let own = br#"{"id":"x","topic":"forged","pubsubname":"forged","time":"then","type":null,"traceid":"own"}"#;
    let made = of(kind, own, &[("cloudevent.id", "ignored")]).unwrap();
    assert_eq!(
        made,
        json!({ "id": "x", "topic": "t", "pubsubname": "ps", "time": "then", "type": "com.dapr.event.sent",
            "traceid": "own", "tracestate": "s=1", "source": "Dapr", "specversion": "1.0" })
    );
    for bad in ["{\"}", "[]", "", "null"] {
        assert!(of(kind, bad.as_bytes(), &[]).is_err(), "{bad}");
    }
}

#[test]
fn a_time_to_live_becomes_a_date() {
    assert!(of("", b"", &[("TTLInSeconds", "10")]).unwrap()["expiration"].is_string());
    assert!(of("", b"", &[("ttl", "1h")]).unwrap()["expiration"].is_string());
    assert!(of("", b"", &[("ttl", "0")]).unwrap()["expiration"].is_string());
    for bad in ["-5", "x", ""] {
        assert!(
            of("", b"", &[("ttlInSeconds", bad)]).unwrap()["expiration"].is_null(),
            "{bad}"
        );
    }
    assert!(of("", b"", &[("ttlInSeconds", "9223372036854775807")]).is_ok());
}

#[test]
fn the_raw_flag_is_a_truth_value_of_gos() {
    let flag = |value: &str| raw_payload(&Metadata::from([(RAW_PAYLOAD.into(), value.into())]));
    assert!(flag("true") == Ok(true) && flag("0") == Ok(false) && flag("") == Ok(false));
    assert_eq!(
        flag("yes").unwrap_err(),
        "rawPayload value must be a valid boolean: actual is 'yes'"
    );
}

proptest! {
    #[test]
    fn whatever_is_published_gives_an_envelope_that_parses(
        content_type in prop_oneof![Just("application/json".to_owned()), "[ -~]{0,20}".prop_map(|text| text)],
        data in proptest::collection::vec(any::<u8>(), 0..200),
        name in "\\PC{0,20}", value in "\\PC{0,20}",
    ) {
        if !is_cloud_event(&content_type) {
            let made = of(&content_type, &data, &[(&name, &value), ("cloudevent.subject", &value)]);
            prop_assert!(made.is_ok());
        }
    }
}
