//! Publishing, whichever protocol it came by.
//!
//! One idea: the order in which a call is judged is Dapr's: component, topic, metadata, entries, envelope, scope. Must
//! never answer before the broker has the message.

mod policed;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use palladium_engine_pubsub::{
    ApiError, BulkEntry, BulkPublishFailure, BulkPublishRequest, Draft, Metadata, PublishRequest, Trace, envelope,
    raw_payload,
};
use palladium_engine_resiliency::ComponentKind;

use super::PubsubEntry;
use crate::api_rules::Protocol;
use crate::resiliency::outbound;
use crate::server::Server;
use crate::trace::{Kind, Tracer};

/// One message as a caller gave it.
pub struct Single {
    /// Topic.
    pub topic: String,
    /// The data.
    pub data: Bytes,
    /// Its content type; may be empty.
    pub content_type: String,
    /// Metadata of the call.
    pub metadata: Metadata,
    /// Where the call stands in a trace.
    pub trace: Trace,
    /// Whether a message without an envelope takes the trace along as metadata.
    pub trace_beside: bool,
}

/// Many messages as a caller gave them.
pub struct Bulk {
    /// Topic.
    pub topic: String,
    /// Metadata of the call.
    pub metadata: Metadata,
    /// Where the call stands in a trace.
    pub trace: Trace,
    /// What makes a span for each message, and its name; `None` where calls are not traced.
    pub spans: Option<(Arc<Tracer>, String)>,
    /// The messages.
    pub entries: Vec<BulkEntry>,
}

/// The component that a call names.
///
/// # Errors
/// When there is none, or the call names none, or no topic.
pub fn find(server: &Server, pubsub: &str, topic: &str) -> Result<Arc<PubsubEntry>, ApiError> {
    if pubsub.is_empty() {
        return Err(ApiError::NameEmpty);
    }
    let entry = server.components.load().pubsub(pubsub).cloned();
    let entry = entry.ok_or_else(|| ApiError::NotFound {
        pubsub: pubsub.to_owned(),
    })?;
    if topic.is_empty() {
        return Err(ApiError::TopicEmpty {
            pubsub: pubsub.to_owned(),
        });
    }
    Ok(entry)
}

/// Whether a call wants no envelope.
///
/// # Errors
/// When that cannot be read.
pub fn is_raw(entry: &PubsubEntry, metadata: &Metadata) -> Result<bool, ApiError> {
    raw_payload(metadata).map_err(|reason| ApiError::Metadata {
        pubsub: entry.component.name().to_owned(),
        value: metadata.get("rawPayload").cloned().unwrap_or_default(),
        reason,
    })
}

/// Publishes one message.
///
/// # Errors
/// See [`ApiError`].
pub async fn single(server: &Server, entry: &PubsubEntry, by: Protocol, mut call: Single) -> Result<(), ApiError> {
    let component = &entry.component;
    let data = if is_raw(entry, &call.metadata)? {
        if call.trace_beside {
            call.metadata.insert("traceid".into(), call.trace.parent);
            call.metadata.insert("tracestate".into(), call.trace.state);
        }
        // A copy, as an envelope is one: a queue that keeps it would keep the buffer that it came in, which may be far larger.
        Bytes::copy_from_slice(&call.data)
    } else {
        enveloped(
            entry,
            &call.topic,
            &call.content_type,
            &call.data,
            &call.metadata,
            &call.trace,
        )?
    };
    let request = PublishRequest {
        topic: call.topic.clone(),
        data,
        metadata: call.metadata,
        content_type: None,
    };
    let start = Instant::now();
    let policy = outbound(server, component.name(), ComponentKind::Pubsub);
    let outcome = policed::one(component, by, &policy, request).await;
    entry.metrics.egress(&call.topic, outcome.is_ok(), start.elapsed());
    outcome
}

/// Publishes what is an envelope already, for the Dapr Server itself.
///
/// # Errors
/// See [`ApiError`].
pub(crate) async fn bare(server: &Server, pubsub: &str, by: Protocol, request: PublishRequest) -> Result<(), ApiError> {
    let entry = find(server, pubsub, &request.topic)?;
    let policy = outbound(server, pubsub, ComponentKind::Pubsub);
    policed::one(&entry.component, by, &policy, request).await
}

/// Bytes of a bulk request's metadata, once for each entry.
const MOST_METADATA: usize = 16 << 20;

/// Publishes many messages and says which failed.
///
/// # Errors
/// See [`ApiError`].
pub async fn bulk(
    server: &Server,
    entry: &PubsubEntry,
    by: Protocol,
    call: Bulk,
) -> Result<Vec<BulkPublishFailure>, ApiError> {
    let raw = is_raw(entry, &call.metadata)?;
    let mut seen = HashSet::new();
    if !call
        .entries
        .iter()
        .all(|entry| !entry.entry_id.is_empty() && seen.insert(entry.entry_id.as_str()))
    {
        return Err(ApiError::Entries {
            pubsub: entry.component.name().to_owned(),
            topic: call.topic,
            app_id: entry.component.app_id().to_owned(),
            reason: "entryId is duplicated or not present for entry".to_owned(),
        });
    }
    let each: usize = call.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if each.saturating_mul(call.entries.len()) > MOST_METADATA {
        return Err(ApiError::Entries {
            pubsub: entry.component.name().to_owned(),
            topic: call.topic,
            app_id: entry.component.app_id().to_owned(),
            reason: "the request's metadata are too long to go with every entry".to_owned(),
        });
    }
    let mut entries = Vec::with_capacity(call.entries.len());
    let mut spans = Vec::new();
    for mut one in call.entries {
        // What an entry says goes before what the call says; an entry that says nothing gets nothing, as in Dapr.
        if !one.metadata.is_empty() {
            for (name, value) in &call.metadata {
                one.metadata.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        if !raw {
            let own = call.spans.as_ref().map(|(tracer, name)| {
                let Trace { parent, state } = &call.trace;
                let span = tracer.below(name.clone(), Kind::Producer, parent, state);
                let (parent, state) = (span.parent(), span.state());
                spans.push(span);
                Trace { parent, state }
            });
            one.event = enveloped(
                entry,
                &call.topic,
                &one.content_type,
                &one.event,
                &one.metadata,
                own.as_ref().unwrap_or(&call.trace),
            )?;
        }
        entries.push(one);
    }
    let count = entries.len();
    let request = BulkPublishRequest {
        topic: call.topic.clone(),
        entries,
        metadata: call.metadata,
    };
    let start = Instant::now();
    let policy = outbound(server, entry.component.name(), ComponentKind::Pubsub);
    let outcome = policed::many(&entry.component, by, &policy, request).await;
    let good = outcome.as_ref().is_ok_and(Vec::is_empty);
    let published = outcome
        .as_ref()
        .map_or(0, |failures| count.saturating_sub(failures.len()));
    entry.metrics.bulk_egress(&call.topic, good, published, start.elapsed());
    outcome
}

fn enveloped(
    entry: &PubsubEntry,
    topic: &str,
    content_type: &str,
    data: &[u8],
    metadata: &Metadata,
    trace: &Trace,
) -> Result<Bytes, ApiError> {
    let component = &entry.component;
    let draft = Draft {
        app_id: component.app_id(),
        pubsub: component.name(),
        topic,
        content_type,
        data,
        trace,
        metadata,
        native_ttl: component.native_ttl(),
    };
    envelope(&draft).map_err(|reason| ApiError::Envelope {
        pubsub: component.name().to_owned(),
        app_id: component.app_id().to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests;
