//! The transactional outbox: a state transaction and what it publishes, both or neither.
//!
//! One idea: before the transaction, what is to be published goes to a topic of the outbox's own, under a name that the
//! transaction writes too ([`Promise`]). Whoever receives it there publishes it once that name is in the store
//! ([`Outbox::letter`]), and then deletes the name: without the commit there is no name, and what was committed is in the
//! broker already. Topic, message and name are Dapr's, so that daprd and this program can share both ends. As in Dapr the
//! value that is published is the one that is stored: of a store that encrypts it is the encrypted one. Unlike Dapr, no
//! other key than such a name is ever looked for or deleted, and what stands under it says which message was promised: who
//! may publish to the outbox's own topic cannot have another one published in its place ([`Outbox::is_kept`]). Must never do
//! I/O: the Dapr Server publishes and stores.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use palladium_component::Properties;
use palladium_component::metadata::is_truthy;
use palladium_component::state::{Operation, SetRequest, ValueForm};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::envelope::{Draft, Member, Trace, wrapped};
use crate::{Metadata, PublishRequest};

/// What stands before the id in the key that a transaction writes.
const PREFIX: &str = "outbox-";
/// What daprd writes under such a key: a JSON text in most of its stores.
const DAPRS_MARKS: [&[u8]; 2] = [b"\"0\"", b"0"];
/// Metadata of an operation that says what is published in place of another one's value.
const PROJECTION: &str = "outbox.projection";
const CONTENT_TYPE: &str = "contentType";

/// What a state store's metadata say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// Component that is published to in the end.
    pub publish_pubsub: String,
    /// Its topic.
    pub publish_topic: String,
    /// Component that holds what is promised.
    pub pubsub: String,
    /// Whether what was promised and never committed is thrown away, and not left to the broker.
    pub discards: bool,
}

/// A transaction with its promises.
#[derive(Debug)]
pub struct Plan {
    /// What is to be carried out, the names of the promises among it.
    pub operations: Vec<Operation>,
    /// What is to be published before, in this order.
    pub promises: Vec<Promise>,
}

/// What is published if a key is in the store.
#[derive(Debug)]
pub struct Promise {
    /// The key.
    pub key: String,
    /// The message for the outbox's own topic.
    pub request: PublishRequest,
}

impl Outbox {
    /// Reads a state store's metadata; `None` when it has no outbox.
    pub fn read(properties: &Properties) -> Option<Self> {
        let text = |name: &str| properties.get(name).filter(|text| !text.is_empty());
        let publish_pubsub = text("outboxPublishPubsub")?;
        Some(Self {
            publish_pubsub: publish_pubsub.to_owned(),
            publish_topic: text("outboxPublishTopic")?.to_owned(),
            pubsub: text("outboxPubsub").unwrap_or(publish_pubsub).to_owned(),
            discards: text("outboxDiscardWhenMissingState").is_some_and(is_truthy),
        })
    }

    /// The outbox's own topic.
    pub fn topic(&self, app_id: &str, namespace: &str) -> String {
        format!("{namespace}{app_id}{}outbox", self.publish_topic)
    }

    /// Splits a transaction into what is promised and what is carried out. The operations are as the store gets them.
    ///
    /// # Errors
    /// Words for the caller.
    pub fn plan(
        &self,
        app_id: &str,
        namespace: &str,
        trace: &Trace,
        operations: Vec<Operation>,
    ) -> Result<Plan, String> {
        let mut projections = HashMap::new();
        let mut kept = Vec::with_capacity(operations.len() * 2);
        for operation in operations {
            match operation {
                Operation::Set(set) if set.metadata.get(PROJECTION).is_some_and(|said| is_truthy(said)) => {
                    projections.insert(set.key.clone(), set);
                }
                other => kept.push(other),
            }
        }
        let (mut promises, mut marks) = (Vec::new(), Vec::new());
        for operation in &kept {
            let Operation::Set(set) = operation else { continue };
            let key = format!("{PREFIX}{}", Uuid::new_v4());
            let told = projections.get(&set.key).unwrap_or(set);
            let request = PublishRequest {
                topic: self.topic(app_id, namespace),
                data: self.envelope(app_id, trace, &key, told, &set.metadata)?,
                ..PublishRequest::default()
            };
            marks.push(Operation::Set(SetRequest {
                key: key.clone(),
                value: mark(&request.data),
                form: ValueForm::Json,
                ..SetRequest::default()
            }));
            promises.push(Promise { key, request });
        }
        kept.extend(marks);
        Ok(Plan {
            operations: kept,
            promises,
        })
    }

    /// The message of a promise: an envelope whose id is the key.
    fn envelope(
        &self,
        app_id: &str,
        trace: &Trace,
        key: &str,
        told: &SetRequest,
        metadata: &Metadata,
    ) -> Result<Bytes, String> {
        let content_type = told.metadata.get(CONTENT_TYPE).map_or("", String::as_str);
        let data = data(told, content_type)?;
        // As in Dapr, the trace stands under its older name only.
        let (nothing, trace_only) = (
            Metadata::new(),
            Trace {
                parent: String::new(),
                state: trace.state.clone(),
            },
        );
        let draft = Draft {
            app_id,
            pubsub: &self.pubsub,
            topic: "",
            content_type,
            data: &data,
            trace: &trace_only,
            metadata: &nothing,
            native_ttl: true,
        };
        let mut members = wrapped(&draft);
        members.insert("traceid", Member::Text(&trace.parent));
        for (name, value) in metadata {
            if name != "data" && name != "id" {
                members.insert(name, Member::Text(value));
            }
        }
        members.insert("id", Member::Text(key));
        let written = serde_json::to_vec(&members).map_err(|error| error.to_string())?;
        Ok(written.into())
    }

    /// The key that a message of the outbox's own topic waits for.
    ///
    /// # Errors
    /// When it is no promise: whoever may publish to that topic must not choose what is deleted from the store.
    pub fn key(message: &[u8]) -> Result<String, String> {
        let members = members(message)?;
        let id = members.get("id").and_then(|id| serde_json::from_str(id.get()).ok());
        let is_key = |id: &String| {
            id.strip_prefix(PREFIX)
                .is_some_and(|rest| Uuid::try_parse(rest).is_ok())
        };
        id.filter(is_key)
            .ok_or_else(|| "the id of an outbox message is not of an outbox".to_owned())
    }

    /// Whether what stands in the store under the key of a message says that this very message was promised.
    /// `or_daprs`: whether daprd's word counts as well, which says nothing about the message.
    pub fn is_kept(message: &[u8], found: &[u8], or_daprs: bool) -> bool {
        *found == *mark(message) || (or_daprs && DAPRS_MARKS.contains(&found))
    }

    /// What is published in the end for a message of the outbox's own topic.
    ///
    /// # Errors
    /// Words for people when it is no envelope.
    pub fn letter(&self, message: &[u8]) -> Result<PublishRequest, String> {
        let mut members = members(message)?;
        let text = |text: &str| to_raw_value(text).map_err(|error| error.to_string());
        members.insert("topic".to_owned(), text(&self.publish_topic)?);
        members.insert("pubsubname".to_owned(), text(&self.publish_pubsub)?);
        let content_type = members.get("datacontenttype");
        let content_type = content_type.and_then(|kind| serde_json::from_str(kind.get()).ok());
        let data = serde_json::to_vec(&members).map_err(|error| error.to_string())?;
        Ok(PublishRequest {
            topic: self.publish_topic.clone(),
            data: data.into(),
            content_type,
            ..PublishRequest::default()
        })
    }
}

/// What stands in the store for a promised message: its digest, as a JSON text.
fn mark(message: &[u8]) -> Bytes {
    format!("\"{:x}\"", Sha256::digest(message)).into()
}

fn members(message: &[u8]) -> Result<BTreeMap<String, Box<RawValue>>, String> {
    serde_json::from_slice(message).map_err(|error| format!("error deserializing outbox message: {error}"))
}

/// What an operation's value is to its receivers: JSON only where the operation says so, else the text of the value.
fn data(set: &SetRequest, content_type: &str) -> Result<Bytes, String> {
    if set.form == ValueForm::Binary || content_type.eq_ignore_ascii_case("application/json") {
        return Ok(set.value.clone());
    }
    let value = serde_json::from_slice(&set.value).map_err(|error| error.to_string())?;
    let mut text = String::new();
    go_text(&value, &mut text);
    Ok(text.into())
}

/// A value as Go prints it (`%v`): what Dapr publishes of a JSON value that is not said to be JSON.
fn go_text(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::String(text) => out.push_str(text),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            let scientific = format!("{number:e}");
            let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
            let text = match exponent.parse::<i32>() {
                Ok(exponent @ (..=-5 | 6..)) => {
                    let sign = if exponent < 0 { '-' } else { '+' };
                    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
                }
                _ => number.to_string(),
            };
            out.push_str(&text);
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                go_text(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            out.push_str("map[");
            for (at, (name, member)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                out.push_str(name);
                out.push(':');
                go_text(member, out);
            }
            out.push(']');
        }
    }
}

#[cfg(test)]
mod tests;
