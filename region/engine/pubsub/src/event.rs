//! From what the broker delivers to what an application gets: an envelope, its members one by one, and the bytes of it.
//!
//! One idea: an envelope is read only one level deep; its data stays the bytes that it is until a rule looks inside. Must
//! never change the bytes of an envelope that came from the broker.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::Message;
use crate::content::{is_binary, is_cloud_event, is_json, is_text};
use crate::envelope::{DEFAULT_SOURCE, DEFAULT_TYPE, SPEC_VERSION};

/// What stands before the name of an envelope's member that travels as metadata beside bare data.
const BINARY_PREFIX: &str = "ce_";
const TRACING: [&str; 3] = ["traceid", "traceparent", "tracestate"];

/// A received envelope.
#[derive(Clone, Debug)]
pub struct Event {
    members: BTreeMap<String, Box<RawValue>>,
    /// Data that travelled beside the members.
    bare: Option<Bytes>,
    body: Bytes,
}

impl Event {
    /// Reads a message. `raw`: it has no envelope and gets one.
    ///
    /// # Errors
    /// Words for people when it should be an envelope and is none.
    pub fn read(message: &Message, raw: bool, topic: &str, pubsub: &str) -> Result<Self, String> {
        if raw {
            return wrap(message, topic, pubsub);
        }
        let content_type = message
            .content_type
            .as_ref()
            .or_else(|| message.metadata.get("content-type"));
        if let Some(content_type) = content_type.filter(|content_type| is_binary(content_type)) {
            return Ok(binary(message, content_type));
        }
        let members = serde_json::from_slice(&message.data).map_err(|error| error.to_string())?;
        let mut event = Event {
            members,
            bare: None,
            body: message.data.clone(),
        };
        let missing = |event: &Event, name: &str| !event.members.contains_key(name);
        let absent = TRACING.map(|name| missing(&event, name));
        event.trace_from(message, absent);
        Ok(event)
    }

    /// Takes over from a message's metadata where the call stands in a trace.
    fn trace_from(&mut self, message: &Message, [id, parent, state]: [bool; 3]) {
        let mut take = |wanted: bool, from: &str, to: &str| {
            if let Some(value) = message.metadata.get(from).filter(|_| wanted) {
                self.members.insert(to.into(), string(value));
            }
        };
        take(id, "traceid", "traceid");
        take(parent, "traceparent", "traceparent");
        // What is newer wins.
        take(parent, "traceparent", "traceid");
        take(state, "tracestate", "tracestate");
    }

    /// A member that is text; `None` when there is none, or it is something else.
    pub fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.members.get(name)?.get()).ok()
    }

    /// All members but these.
    pub fn members_without<'a>(&'a self, left_out: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a RawValue)> {
        let members = self.members.iter().map(|(name, value)| (name.as_str(), value.as_ref()));
        members.filter(|(name, _)| !left_out.contains(name))
    }

    /// The whole envelope as JSON.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The data alone, as its content type says. Data of a type that is neither text nor JSON is left out, as in Dapr.
    ///
    /// # Errors
    /// Words for people when data and content type do not fit.
    pub fn data(&self) -> Result<Bytes, String> {
        const UNEXPECTED: &str = "unexpected data type encountered in envelope";
        if let Some(bare) = &self.bare {
            return Ok(bare.clone());
        }
        let member = |name: &str| self.members.get(name).filter(|value| value.get() != "null");
        if let Some(encoded) = member("data_base64") {
            let encoded: String = serde_json::from_str(encoded.get()).map_err(|_| UNEXPECTED)?;
            let decoded = STANDARD.decode(encoded);
            return decoded.map(Bytes::from).map_err(|error| error.to_string());
        }
        let (Some(data), Some(content_type)) = (member("data"), self.text("datacontenttype")) else {
            return Ok(Bytes::new());
        };
        if is_text(&content_type) {
            let text: String = serde_json::from_str(data.get()).map_err(|_| UNEXPECTED)?;
            return Ok(text.into());
        }
        if is_json(&content_type) || is_cloud_event(&content_type) {
            return Ok(Bytes::copy_from_slice(data.get().as_bytes()));
        }
        Ok(Bytes::new())
    }

    /// Whether its time is over. A date that cannot be read is none.
    pub fn has_expired(&self) -> bool {
        let date = self.text("expiration");
        let date = date.and_then(|date| OffsetDateTime::parse(&date, &Rfc3339).ok());
        date.is_some_and(|date| date < OffsetDateTime::now_utc())
    }
}

fn string(text: &str) -> Box<RawValue> {
    to_raw_value(text).expect("invariant: text is JSON")
}

/// An envelope around data that has none. Whoever publishes knows neither its id nor its type, so both are made up.
fn wrap(message: &Message, topic: &str, pubsub: &str) -> Result<Event, String> {
    let (id, encoded) = (Uuid::new_v4().to_string(), STANDARD.encode(&message.data));
    let members = [
        ("id", id.as_str()),
        ("specversion", SPEC_VERSION),
        ("datacontenttype", "application/octet-stream"),
        ("source", DEFAULT_SOURCE),
        ("type", DEFAULT_TYPE),
        ("topic", topic),
        ("pubsubname", pubsub),
        ("data_base64", &encoded),
    ];
    let mut event = Event {
        members: members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), string(value)))
            .collect(),
        bare: None,
        body: Bytes::new(),
    };
    event.trace_from(message, [true; 3]);
    event.body = serde_json::to_vec(&event.members)
        .map_err(|error| error.to_string())?
        .into();
    Ok(event)
}

/// Bare data; the other members of the envelope travelled as metadata.
fn binary(message: &Message, content_type: &str) -> Event {
    let mut members: BTreeMap<String, Box<RawValue>> = message
        .metadata
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_lowercase();
            Some((name.strip_prefix(BINARY_PREFIX)?.to_owned(), string(value)))
        })
        .collect();
    members.insert("datacontenttype".into(), string(content_type));
    Event {
        members,
        bare: Some(message.data.clone()),
        body: message.data.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn message(data: &str, metadata: &[(&str, &str)]) -> Message {
        Message {
            topic: "t".into(),
            data: data.to_owned().into(),
            metadata: metadata
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            content_type: None,
        }
    }

    #[test]
    fn an_envelope_stays_as_it_came() {
        let text = r#"{"id": "1",  "data": {"n": 1.10}, "datacontenttype": "application/json"}"#;
        let event = Event::read(&message(text, &[("traceparent", "tp")]), false, "t", "ps").unwrap();
        assert_eq!(
            (event.body().as_ref(), event.data().unwrap().as_ref()),
            (text.as_bytes(), &b"{\"n\": 1.10}"[..])
        );
        assert!(event.text("traceid").as_deref() == Some("tp") && event.text("data").is_none());
        for bad in ["", "[]", "x"] {
            assert!(Event::read(&message(bad, &[]), false, "t", "ps").is_err(), "{bad}");
        }
    }

    #[test]
    fn raw_data_gets_an_envelope() {
        let event = Event::read(&message("hi", &[("traceid", "x")]), true, "t", "ps").unwrap();
        let mut body: Value = serde_json::from_slice(event.body()).unwrap();
        body["id"].take();
        assert_eq!(
            body,
            json!({ "id": null, "specversion": "1.0", "datacontenttype": "application/octet-stream", "source": "Dapr",
                "type": "com.dapr.event.sent", "topic": "t", "pubsubname": "ps", "data_base64": "aGk=", "traceid": "x" })
        );
        assert_eq!(event.data().unwrap(), "hi");
    }

    #[test]
    fn bare_data_has_its_members_beside_it() {
        let message = message("\u{1}", &[("content-type", "application/octet-stream"), ("CE_id", "7")]);
        let event = Event::read(&message, false, "t", "ps").unwrap();
        assert!(event.text("id").as_deref() == Some("7") && event.data().unwrap() == "\u{1}");
    }

    #[test]
    fn time_and_type_are_obeyed() {
        let read = |text: &str| Event::read(&message(text, &[]), false, "t", "ps").unwrap();
        assert!(read(r#"{"expiration":"2001-01-01T00:00:00Z"}"#).has_expired());
        assert!(!read(r#"{"expiration":"9001-01-01T00:00:00Z"}"#).has_expired());
        assert!(!read(r#"{"expiration":"soon"}"#).has_expired() && !read("{}").has_expired());
        assert!(read(r#"{"data":1,"datacontenttype":"text/plain"}"#).data().is_err());
        assert_eq!(read(r#"{"data":"x","datacontenttype":"foo/bar"}"#).data().unwrap(), "");
    }
}
