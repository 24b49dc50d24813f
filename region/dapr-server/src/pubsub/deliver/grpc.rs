//! Delivery by gRPC: the application's callback service.
//!
//! One idea: the members of the envelope that have no field of their own go along as extensions. An application without the
//! call wants nothing. Must never send what travelled beside a message under a name that is gRPC's own.

use std::collections::HashMap;

use palladium_engine_pubsub::{BulkEvent, BulkItem, Event, Incoming, Metadata, Verdict};
use palladium_proto::prost_types::{ListValue, Struct, Value, value::Kind};
use palladium_proto::runtime::app_callback_alpha_client::AppCallbackAlphaClient;
use palladium_proto::runtime::app_callback_client::AppCallbackClient;
use palladium_proto::runtime::topic_event_bulk_request_entry::Event as Form;
use palladium_proto::runtime::topic_event_response::TopicEventResponseStatus as Answer;
use palladium_proto::runtime::{
    TopicEventBulkRequest, TopicEventBulkRequestEntry, TopicEventBulkResponse, TopicEventCeRequest, TopicEventRequest,
};
use serde_json::value::RawValue;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::{all, traceparent};
use crate::app_channel::{AppChannel, is_reserved};
use crate::trace::{self, Span};

/// Members of an envelope with a field of their own.
const FIELDS: [&str; 7] = [
    "id",
    "source",
    "datacontenttype",
    "type",
    "specversion",
    "data",
    "data_base64",
];
/// How deep extensions are looked into.
const DEEPEST: usize = 64;
/// Bytes of the longest answer.
const LONGEST: usize = 4 << 20;

pub(super) async fn one(app: &AppChannel, incoming: &Incoming) -> Verdict {
    let request = match event_request(incoming) {
        Ok(request) => request,
        Err(reason) => return Verdict::Retry(reason),
    };
    let mut metadata = metadata(&incoming.metadata);
    let mut span = None;
    if let Some(parent) = traceparent(&incoming.event) {
        span = super::span(app, incoming, &parent);
        trace_along(&mut metadata, &span.as_ref().map_or(parent, Span::parent));
    }
    let answer = app.callback(metadata, request, |channel, request| async move {
        AppCallbackClient::new(channel)
            .max_decoding_message_size(LONGEST)
            .on_topic_event(request)
            .await
    });
    let answer = answer.await;
    if let (Some(span), Err(status)) = (&mut span, &answer) {
        span.failed(status.message());
    }
    match answer {
        Ok(answer) => verdict(answer.status),
        Err(status) if status.code() == Code::Unimplemented => {
            tracing::warn!("non-retriable error returned from app while processing pub/sub event: {status}");
            Verdict::Success
        }
        Err(status) => Verdict::Retry(format!("error returned from app: {status}")),
    }
}

/// What an application's status means.
pub(in crate::pubsub) fn verdict(status: i32) -> Verdict {
    match Answer::try_from(status) {
        Ok(Answer::Success) => Verdict::Success,
        Ok(Answer::Retry) => Verdict::Retry("RETRY status returned from app".to_owned()),
        Ok(Answer::Drop) => {
            tracing::warn!("DROP status returned from app while processing pub/sub event");
            Verdict::Drop
        }
        Err(_) => Verdict::Retry("unknown status returned from app".to_owned()),
    }
}

pub(super) async fn many(app: &AppChannel, bulk: &BulkEvent) -> Vec<Verdict> {
    let entries: Result<Vec<_>, String> = bulk.entries.iter().map(|item| entry(item, bulk.raw)).collect();
    let entries = match entries {
        Ok(entries) => entries,
        Err(reason) => return all(bulk, &Verdict::Retry(reason)),
    };
    let request = TopicEventBulkRequest {
        id: bulk.id.clone(),
        entries,
        metadata: bulk.metadata.clone(),
        topic: bulk.topic.clone(),
        pubsub_name: bulk.pubsub.clone(),
        r#type: bulk.kind.to_owned(),
        path: bulk.path.clone(),
    };
    let answer: Result<TopicEventBulkResponse, Status> = app
        .callback(metadata(&bulk.metadata), request, |channel, mut request| async move {
            let (again, message) = (request.metadata().clone(), request.get_mut().clone());
            let mut client = AppCallbackClient::new(channel.clone()).max_decoding_message_size(LONGEST);
            match client.on_bulk_topic_event(request).await {
                // Older applications know it by its older name.
                #[allow(deprecated)]
                Err(status) if status.code() == Code::Unimplemented => {
                    let mut request = tonic::Request::new(message);
                    *request.metadata_mut() = again;
                    let mut client = AppCallbackAlphaClient::new(channel).max_decoding_message_size(LONGEST);
                    client.on_bulk_topic_event_alpha1(request).await
                }
                answer => answer,
            }
        })
        .await;
    match answer {
        Ok(answer) => {
            let by_id: HashMap<&str, i32> = answer
                .statuses
                .iter()
                .map(|one| (one.entry_id.as_str(), one.status))
                .collect();
            let missing = || Verdict::Retry("response not received for this entry".to_owned());
            let one = |item: &BulkItem| {
                by_id
                    .get(item.entry_id.as_str())
                    .map_or_else(missing, |status| verdict(*status))
            };
            bulk.entries.iter().map(one).collect()
        }
        Err(status) if status.code() == Code::Unimplemented => {
            tracing::warn!("non-retriable error returned from app while processing bulk pub/sub event: {status}");
            all(bulk, &Verdict::Success)
        }
        Err(status) => all(bulk, &Verdict::Retry(format!("error returned from app: {status}"))),
    }
}

fn entry(item: &BulkItem, raw: bool) -> Result<TopicEventBulkRequestEntry, String> {
    let event = &item.event;
    let form = if raw {
        Form::Bytes(item.message.data.clone())
    } else {
        Form::CloudEvent(TopicEventCeRequest {
            id: text(event, "id"),
            source: text(event, "source"),
            r#type: text(event, "type"),
            spec_version: text(event, "specversion"),
            data_content_type: text(event, "datacontenttype"),
            data: event.data()?,
            extensions: Some(extensions(event)),
        })
    };
    Ok(TopicEventBulkRequestEntry {
        entry_id: item.entry_id.clone(),
        content_type: item.content_type.clone(),
        metadata: item.message.metadata.clone(),
        event: Some(form),
    })
}

/// An event as the message of a callback or a stream.
pub(in crate::pubsub) fn event_request(incoming: &Incoming) -> Result<TopicEventRequest, String> {
    let event = &incoming.event;
    Ok(TopicEventRequest {
        id: text(event, "id"),
        source: text(event, "source"),
        r#type: text(event, "type"),
        spec_version: text(event, "specversion"),
        data_content_type: text(event, "datacontenttype"),
        data: event.data()?,
        topic: incoming.topic.clone(),
        pubsub_name: incoming.pubsub.clone(),
        path: incoming.path.clone(),
        extensions: Some(extensions(event)),
    })
}

fn text(event: &Event, name: &str) -> String {
    event.text(name).unwrap_or_default()
}

fn extensions(event: &Event) -> Struct {
    let members = event.members_without(&FIELDS);
    Struct {
        fields: members
            .map(|(name, value)| (name.to_owned(), extension(value)))
            .collect(),
    }
}

fn extension(value: &RawValue) -> Value {
    let parsed = serde_json::from_str(value.get()).unwrap_or_default();
    convert(parsed, 0)
}

fn convert(value: serde_json::Value, depth: usize) -> Value {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) if depth < DEEPEST => Kind::ListValue(ListValue {
            values: items.into_iter().map(|item| convert(item, depth + 1)).collect(),
        }),
        Json::Object(members) if depth < DEEPEST => Kind::StructValue(Struct {
            fields: members
                .into_iter()
                .map(|(name, value)| (name, convert(value, depth + 1)))
                .collect(),
        }),
        _ => Kind::NullValue(0),
    };
    Value { kind: Some(kind) }
}

/// What travelled beside a message, as metadata. What cannot be metadata is left out.
fn metadata(beside: &Metadata) -> MetadataMap {
    let mut map = MetadataMap::new();
    for (name, value) in beside {
        let name = name.to_ascii_lowercase();
        let own =
            ["content-type", "user-agent"].contains(&name.as_str()) || name.starts_with("grpc-") || is_reserved(&name);
        if let (false, Ok(name), Ok(value)) = (
            own,
            MetadataKey::from_bytes(name.as_bytes()),
            MetadataValue::try_from(value),
        ) {
            map.insert(name, value);
        }
    }
    map
}

pub(crate) fn trace_along(map: &mut MetadataMap, parent: &str) {
    let valid = trace::valid(parent).unwrap_or(trace::NOWHERE);
    if let Ok(value) = MetadataValue::try_from(valid) {
        map.insert("traceparent", value);
    }
    // Nowhere has no older form here, as with the original.
    if let Some(binary) = trace::binary(valid).filter(|_| valid != trace::NOWHERE) {
        map.insert_bin("grpc-trace-bin", MetadataValue::from_bytes(&binary));
    }
}

#[cfg(test)]
mod tests {
    use palladium_engine_pubsub::Message;

    use super::*;

    #[test]
    fn what_has_no_field_is_an_extension() {
        let message = Message {
            data: r#"{"id":"1","data":"x","datacontenttype":"text/plain","topic":"t","n":{"a":[1,null]}}"#.into(),
            ..Message::default()
        };
        let incoming = Incoming {
            event: Event::read(&message, false, "t", "ps").unwrap(),
            topic: "t".into(),
            pubsub: "ps".into(),
            path: "/p".into(),
            metadata: Metadata::new(),
        };
        let request = event_request(&incoming).unwrap();
        assert!(request.data == "x" && request.id == "1");
        let names: Vec<_> = request.extensions.unwrap().fields.into_keys().collect();
        assert_eq!(names, ["n", "topic"]);
    }

    #[test]
    fn grpcs_own_names_stay_behind() {
        let beside = [
            ("Content-Type", "a"),
            ("grpc-timeout", "1S"),
            ("x-bin", "?"),
            ("Foo", "bar"),
            ("a b", "c"),
        ];
        let map = metadata(
            &beside
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        );
        let names: Vec<_> = map.keys().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
}
