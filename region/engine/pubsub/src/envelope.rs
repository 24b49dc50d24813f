//! From what a caller publishes to the envelope that travels: a CloudEvent in JSON.
//!
//! One idea: data that is JSON is carried over byte by byte, never parsed into numbers and written anew, so that nothing
//! of it can change. Must never trust an envelope of the caller's with the names of topic and component: those are ours.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use palladium_component::metadata::{go_bool, time_to_live};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::Metadata;
use crate::content::{is_cloud_event, is_json, needs_base64};

pub(crate) const RAW_PAYLOAD: &str = "rawPayload";
pub(crate) const DEFAULT_SOURCE: &str = "Dapr";
pub(crate) const DEFAULT_TYPE: &str = "com.dapr.event.sent";
pub(crate) const SPEC_VERSION: &str = "1.0";

/// Where a call stands in a trace, as the W3C headers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// `traceparent`.
    pub parent: String,
    /// `tracestate`.
    pub state: String,
}

/// What is about to be published.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// Who publishes.
    pub app_id: &'a str,
    /// Name of the component.
    pub pubsub: &'a str,
    /// Topic.
    pub topic: &'a str,
    /// Content type of the data; may be empty.
    pub content_type: &'a str,
    /// The data.
    pub data: &'a [u8],
    /// Where the call stands in a trace.
    pub trace: &'a Trace,
    /// Metadata of the call: overrides and time to live among it.
    pub metadata: &'a Metadata,
    /// Whether the broker itself drops what is too old.
    pub native_ttl: bool,
}

/// Members of an envelope, in order of their names.
pub(crate) type Members<'a> = BTreeMap<&'a str, Member<'a>>;

#[derive(serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Member<'a> {
    Text(&'a str),
    Owned(String),
    Raw(&'a RawValue),
}

/// Whether metadata asks for no envelope.
///
/// # Errors
/// Words for the caller when the value is no truth value.
pub fn raw_payload(metadata: &Metadata) -> Result<bool, String> {
    raw_flag(metadata.get(RAW_PAYLOAD).map(String::as_str))
}

pub(crate) fn raw_flag(value: Option<&str>) -> Result<bool, String> {
    match value.unwrap_or_default() {
        "" => Ok(false),
        said => go_bool(said).ok_or_else(|| format!("{RAW_PAYLOAD} value must be a valid boolean: actual is '{said}'")),
    }
}

/// The envelope of a draft.
///
/// # Errors
/// Words for the caller when an envelope of the caller's own is none.
pub fn envelope(draft: &Draft<'_>) -> Result<Bytes, String> {
    let own;
    let mut members = if is_cloud_event(draft.content_type) {
        own = callers_own(draft.data)?;
        completed(draft, &own)
    } else {
        wrapped(draft)
    };
    if !draft.native_ttl
        && let Some(expiration) = expiration(draft.metadata)
    {
        members.insert("expiration", Member::Owned(expiration));
    }
    let written = serde_json::to_vec(&members).map_err(|error| error.to_string())?;
    Ok(written.into())
}

/// What the caller's envelope holds.
fn callers_own(data: &[u8]) -> Result<BTreeMap<String, Box<RawValue>>, String> {
    let mut documents = serde_json::Deserializer::from_slice(data).into_iter();
    // As in Dapr, what follows the document is not looked at.
    documents
        .next()
        .unwrap_or_else(|| Err(serde::de::Error::custom("EOF")))
        .map_err(|error| error.to_string())
}

fn completed<'a>(draft: &Draft<'a>, own: &'a BTreeMap<String, Box<RawValue>>) -> Members<'a> {
    let mut members: Members<'a> = own
        .iter()
        .map(|(name, value)| (name.as_str(), Member::Raw(value)))
        .collect();
    members.entry("time").or_insert_with(|| Member::Owned(now()));
    if !own.contains_key("traceid") {
        members.insert("traceid", Member::Text(&draft.trace.parent));
        members.insert("traceparent", Member::Text(&draft.trace.parent));
    }
    members.entry("tracestate").or_insert(Member::Text(&draft.trace.state));
    members.insert("topic", Member::Text(draft.topic));
    members.insert("pubsubname", Member::Text(draft.pubsub));
    for (name, default) in [
        ("source", DEFAULT_SOURCE),
        ("type", DEFAULT_TYPE),
        ("specversion", SPEC_VERSION),
    ] {
        if own.get(name).is_none_or(|value| value.get() == "null") {
            members.insert(name, Member::Text(default));
        }
    }
    members
}

/// Data that has no envelope yet, as the members of one.
pub(crate) fn wrapped<'a>(draft: &Draft<'a>) -> Members<'a> {
    let overridden = |field: &str| -> Option<&'a str> {
        let named = |name: &str| name.len() == field.len() + 11 && name[11..].eq_ignore_ascii_case(field);
        let prefixed = draft.metadata.iter().filter(|(name, _)| {
            name.get(..11)
                .is_some_and(|prefix| prefix.eq_ignore_ascii_case("cloudevent."))
        });
        prefixed
            .filter(|(name, _)| named(name))
            .map(|(_, value)| value.as_str())
            .find(|value| !value.is_empty())
    };
    let content_type = if draft.content_type.is_empty() {
        "text/plain"
    } else {
        draft.content_type
    };
    let parent = overridden("traceparent")
        .or_else(|| overridden("traceid"))
        .unwrap_or(&draft.trace.parent);
    let mut members = Members::from([
        ("specversion", Member::Text(SPEC_VERSION)),
        ("datacontenttype", Member::Text(content_type)),
        ("source", Member::Text(overridden("source").unwrap_or(draft.app_id))),
        ("type", Member::Text(overridden("type").unwrap_or(DEFAULT_TYPE))),
        ("topic", Member::Text(draft.topic)),
        ("pubsubname", Member::Text(draft.pubsub)),
        ("traceid", Member::Text(parent)),
        ("traceparent", Member::Text(parent)),
        (
            "tracestate",
            Member::Text(overridden("tracestate").unwrap_or(&draft.trace.state)),
        ),
        ("time", Member::Owned(now())),
    ]);
    let id = overridden("id").map_or_else(|| Member::Owned(Uuid::new_v4().to_string()), Member::Text);
    members.insert("id", id);
    if let Some(subject) = overridden("subject") {
        members.insert("subject", Member::Text(subject));
    }
    if needs_base64(content_type) {
        members.insert("data_base64", Member::Owned(STANDARD.encode(draft.data)));
    } else {
        members.insert("data", data(content_type, draft.data));
    }
    members
}

/// Data as a member of an envelope: JSON as it is, everything else as text.
fn data<'a>(content_type: &str, data: &'a [u8]) -> Member<'a> {
    if is_json(content_type)
        && let Some(Ok(value)) = serde_json::Deserializer::from_slice(data)
            .into_iter::<&RawValue>()
            .next()
    {
        return Member::Raw(value);
    }
    match std::str::from_utf8(data) {
        Ok(text) => Member::Text(text),
        Err(_) => Member::Owned(String::from_utf8_lossy(data).into_owned()),
    }
}

/// When a message is too old, by its time to live. One that cannot be read is none, as in Dapr.
fn expiration(metadata: &Metadata) -> Option<String> {
    let time = time_to_live(metadata).ok().flatten()?;
    let at = OffsetDateTime::now_utc().checked_add(time.try_into().ok()?)?;
    at.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()
}

fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let whole = now.replace_nanosecond(0).unwrap_or(now);
    whole.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests;
