//! Many messages in one delivery.
//!
//! One idea: a batch falls apart by path; each part is one delivery, and each message in it is judged by itself. Must
//! never let one message's failure decide about another.

use std::collections::BTreeMap;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use palladium_component::pubsub::{Delivery, Settle};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::runner::{Deliver, Verdict, Worker};
use crate::{Event, Message, Metadata, PUBSUB_NAME};

const BULK_TYPE: &str = "com.dapr.event.sent.bulk";

/// Events of one path on their way to the application.
#[derive(Clone, Debug)]
pub struct BulkEvent {
    /// Names this delivery.
    pub id: String,
    /// What kind of delivery it is.
    pub kind: &'static str,
    /// Topic.
    pub topic: String,
    /// Name of the component.
    pub pubsub: String,
    /// Where they go.
    pub path: String,
    /// What travels beside all of them.
    pub metadata: Metadata,
    /// Whether the events have no envelope.
    pub raw: bool,
    /// The events.
    pub entries: Vec<BulkItem>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct BulkItem {
    /// Names it within the delivery.
    pub entry_id: String,
    /// The event.
    pub event: Event,
    /// The message that it came in.
    pub message: Message,
    /// Content type of what is delivered.
    pub content_type: String,
}

impl BulkEvent {
    /// The same delivery with some of its events only, by their places.
    #[must_use]
    pub fn part(&self, places: &[usize]) -> Self {
        let entries = places.iter().filter_map(|at| self.entries.get(*at));
        Self {
            id: self.id.clone(),
            kind: self.kind,
            topic: self.topic.clone(),
            pubsub: self.pubsub.clone(),
            path: self.path.clone(),
            metadata: self.metadata.clone(),
            raw: self.raw,
            entries: entries.cloned().collect(),
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    entries: Vec<Entry<'a>>,
    id: &'a str,
    metadata: &'a Metadata,
    pubsubname: &'a str,
    topic: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    content_type: &'a str,
    entry_id: &'a str,
    event: Form<'a>,
    metadata: &'a Metadata,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Form<'a> {
    Encoded(String),
    Json(&'a RawValue),
}

/// A delivery as JSON.
///
/// # Errors
/// Words for people when an event is no JSON.
pub fn entries_json(bulk: &BulkEvent) -> Result<Bytes, String> {
    let entries = bulk.entries.iter().map(|item| {
        let event = if bulk.raw {
            Form::Encoded(STANDARD.encode(&item.message.data))
        } else {
            Form::Json(serde_json::from_slice(item.event.body()).map_err(|error| error.to_string())?)
        };
        Ok(Entry {
            content_type: &item.content_type,
            entry_id: &item.entry_id,
            event,
            metadata: &item.message.metadata,
        })
    });
    let envelope = Envelope {
        entries: entries.collect::<Result<_, String>>()?,
        id: &bulk.id,
        metadata: &bulk.metadata,
        pubsubname: &bulk.pubsub,
        topic: &bulk.topic,
        kind: bulk.kind,
    };
    let written = serde_json::to_vec(&envelope).map_err(|error| error.to_string())?;
    Ok(written.into())
}

/// What belongs to one path of a batch.
#[derive(Default)]
struct Part {
    items: Vec<BulkItem>,
    settles: Vec<Settle>,
}

impl<D: Deliver> Worker<D> {
    /// Delivers a batch and settles each of its messages.
    pub(crate) async fn handle_batch(&self, batch: Vec<Delivery>) {
        let mut parts: BTreeMap<String, Part> = BTreeMap::new();
        let raw = self.spec.is_raw() == Ok(true);
        for delivery in batch {
            let (message, settle) = delivery.into_parts();
            match self.read(&message, &self.spec.topic).await {
                Err(verdict) => self.settle(verdict, message, settle, Instant::now()).await,
                Ok((event, path)) => {
                    let default = if raw {
                        "application/octet-stream"
                    } else {
                        "application/cloudevents+json"
                    };
                    let part = parts.entry(path).or_default();
                    part.settles.push(settle);
                    part.items.push(BulkItem {
                        entry_id: Uuid::new_v4().to_string(),
                        content_type: message.content_type.clone().unwrap_or_else(|| default.into()),
                        event,
                        message,
                    });
                }
            }
        }
        for (path, part) in parts {
            let start = Instant::now();
            let bulk = BulkEvent {
                id: Uuid::new_v4().to_string(),
                kind: BULK_TYPE,
                topic: self.spec.topic.clone(),
                pubsub: self.component.name().to_owned(),
                path,
                metadata: [(PUBSUB_NAME.to_owned(), self.component.name().to_owned())].into(),
                raw,
                entries: part.items,
            };
            let mut verdicts = self.deliver.deliver_bulk(&bulk).await.into_iter();
            for (item, settle) in bulk.entries.into_iter().zip(part.settles) {
                let verdict = verdicts
                    .next()
                    .unwrap_or_else(|| Verdict::Retry("no answer for this entry".into()));
                self.settle(verdict, item.message, settle, start).await;
            }
        }
    }

    async fn settle(&self, verdict: Verdict, message: Message, settle: Settle, start: Instant) {
        if let Some(how) = verdict.name() {
            self.deliver.ended(&self.spec.topic, how, start.elapsed());
        }
        if let Some(outcome) = self.outcome(verdict, message).await {
            settle.settle(outcome);
        }
    }
}
