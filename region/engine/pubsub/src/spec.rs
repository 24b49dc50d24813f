//! What an application wants to receive, wherever it said so.
//!
//! Must never hold anything but what was said: it is judged by whoever starts the subscription.

use std::collections::BTreeMap;

/// A wish to receive a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spec {
    /// Name of the pub/sub component.
    pub pubsub: String,
    /// Topic.
    pub topic: String,
    /// Metadata for the component.
    pub metadata: BTreeMap<String, String>,
    /// Condition and path, first match wins; an empty condition always matches.
    pub rules: Vec<(String, String)>,
    /// Where undeliverable events go; empty = nowhere.
    pub dead_letter_topic: String,
    /// How many come in one delivery; `None` = one.
    pub bulk: Option<Batching>,
}

/// How messages are gathered into one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Batching {
    /// At most so many messages; 0 = the default.
    pub max_messages: usize,
    /// At most so long after the first one, in milliseconds; 0 = the default.
    pub max_await_ms: u64,
}

impl Spec {
    /// What it is about: name of the component, and topic.
    pub fn key(&self) -> (&str, &str) {
        (&self.pubsub, &self.topic)
    }

    /// Whether payloads come without an envelope.
    ///
    /// # Errors
    /// Words for people when the setting is no truth value.
    pub fn is_raw(&self) -> Result<bool, String> {
        crate::envelope::raw_flag(self.metadata.get(crate::envelope::RAW_PAYLOAD).map(String::as_str))
    }
}
