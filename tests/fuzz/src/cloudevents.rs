//! CloudEvents: what is published becomes an envelope, what is delivered is read out of one.
//!
//! One idea: there and back with the product's own functions: data comes out as it went in, members of the publisher's own
//! envelope keep their bytes, and the names of topic and component are always ours. Must never compare what is drawn anew
//! each time (ids, the time).

use std::collections::BTreeMap;

use bytes::Bytes;
use palladium_engine_pubsub::{
    Draft, Event, Message, Metadata, Trace, bulk_event, envelope, is_cloud_event, raw_payload,
};
use serde_json::value::RawValue;

const TYPES: [&str; 8] = [
    "application/cloudevents+json",
    "application/json",
    "text/plain",
    "application/octet-stream",
    "application/xml; charset=utf-8",
    "application/cloudevents+protobuf",
    "",
    "Application/CloudEvents+JSON; charset=utf-8",
];

type Members = BTreeMap<String, Box<RawValue>>;

/// A byte that chooses the content type and more, a line of metadata (`name=value&…`), and the data.
pub(crate) fn run(input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else {
        return;
    };
    let at = rest.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (line, data) = (&rest[..at], &rest[(at + 1).min(rest.len())..]);
    let metadata = metadata(line);
    let content_type = TYPES[usize::from(how % 8)];
    let trace = Trace {
        parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        state: String::new(),
    };
    let draft = Draft {
        app_id: "orders",
        pubsub: "bus",
        topic: "paid",
        content_type,
        data,
        trace: &trace,
        metadata: &metadata,
        native_ttl: how & 8 != 0,
    };
    let _ = raw_payload(&metadata);
    if let Ok(written) = envelope(&draft) {
        published(&draft, &written);
    } else {
        assert!(is_cloud_event(content_type), "data of any other type has an envelope");
    }
    received(data, &metadata, how & 16 != 0);
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(value) = serde_json::from_str::<&RawValue>(text)
    {
        let _ = bulk_event(value, content_type);
    }
}

fn metadata(line: &[u8]) -> Metadata {
    let line = String::from_utf8_lossy(line);
    let pairs = line.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn published(draft: &Draft<'_>, written: &Bytes) {
    let members: Members = serde_json::from_slice(written).expect("an envelope is a JSON object");
    let text = |name: &str| {
        members
            .get(name)
            .and_then(|value| serde_json::from_str::<String>(value.get()).ok())
    };
    assert_eq!(text("topic").as_deref(), Some(draft.topic), "the topic is ours");
    assert_eq!(
        text("pubsubname").as_deref(),
        Some(draft.pubsub),
        "the component is ours"
    );
    for name in ["specversion", "source", "type"] {
        assert!(members.contains_key(name), "{name} is missing");
    }
    let delivered = Message {
        topic: draft.topic.to_owned(),
        data: written.clone(),
        ..Message::default()
    };
    let event = Event::read(&delivered, false, draft.topic, draft.pubsub).expect("our own envelope can be read");
    assert_eq!(event.body(), written, "what came from the broker keeps its bytes");
    let read: Members = event
        .members_without(&[])
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(raw(&read), raw(&members), "every member is read");
    let _ = event.has_expired();

    if is_cloud_event(draft.content_type) {
        kept(draft, &members);
        // Published again, it is the same.
        let again = Draft {
            data: written,
            metadata: &Metadata::new(),
            ..draft.clone()
        };
        assert_eq!(
            envelope(&again).as_ref(),
            Ok(written),
            "an accepted CloudEvent serializes to itself"
        );
        return;
    }
    let data = event.data().expect("our own envelope has its data");
    match draft.content_type {
        "application/octet-stream" | "application/cloudevents+protobuf" => assert_eq!(data, draft.data),
        // As in Dapr, the first document counts; what is none is text.
        "application/json" => match serde_json::Deserializer::from_slice(draft.data)
            .into_iter::<&RawValue>()
            .next()
        {
            Some(Ok(value)) if value.get() == "null" => assert!(data.is_empty()),
            Some(Ok(value)) => assert_eq!(data, value.get()),
            _ => {}
        },
        _ => assert_eq!(data, String::from_utf8_lossy(draft.data).into_owned()),
    }
}

/// What the publisher's envelope said is there still, byte by byte.
fn kept(draft: &Draft<'_>, members: &Members) {
    let mut documents = serde_json::Deserializer::from_slice(draft.data).into_iter::<Members>();
    let own = documents.next().and_then(Result::ok).expect("it was accepted");
    let ours = ["topic", "pubsubname", "expiration"];
    for (name, value) in own.iter().filter(|(name, _)| !ours.contains(&name.as_str())) {
        let defaulted = value.get() == "null" && ["source", "type", "specversion"].contains(&name.as_str());
        let traced = name == "traceparent" && !own.contains_key("traceid");
        if !defaulted && !traced {
            assert_eq!(
                members.get(name).map(|kept| kept.get()),
                Some(value.get()),
                "{name} was changed"
            );
        }
    }
}

fn raw(members: &Members) -> Vec<(&str, &str)> {
    members
        .iter()
        .map(|(name, value)| (name.as_str(), value.get()))
        .collect()
}

/// Whatever a broker may deliver.
fn received(data: &[u8], metadata: &Metadata, raw: bool) {
    let message = Message {
        topic: "paid".to_owned(),
        data: Bytes::copy_from_slice(data),
        metadata: metadata.clone(),
        content_type: None,
    };
    let Ok(event) = Event::read(&message, raw, "paid", "bus") else {
        return;
    };
    if raw {
        assert_eq!(event.data().as_deref(), Ok(data), "bare data is what it was");
        assert!(serde_json::from_slice::<Members>(event.body()).is_ok());
    } else {
        assert_eq!(event.body(), data, "what came from the broker keeps its bytes");
    }
    let _ = (event.data(), event.has_expired(), event.text("id"));
}
