//! Publishing over HTTP.
//!
//! One idea: the body is the message; what is asked for beside it stands in the query. Must never interpret a body that is
//! published alone.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use palladium_engine_pubsub::{ApiError, BulkEntry, BulkPublishFailure, Metadata, bulk_event};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Answer, Head, Incoming, body, empty, json};
use crate::api_rules::Protocol;
use crate::errors::Fault;
use crate::pubsub::PubsubEntry;
use crate::pubsub::publish::{self, Bulk, Single};
use crate::server::Server;
use crate::trace;

pub(super) async fn single(
    server: &Server,
    head: Head,
    pubsub: impl AsRef<str>,
    topic: impl Into<String>,
    incoming: Incoming,
) -> Answer {
    let topic = topic.into();
    let entry = publish::find(server, pubsub.as_ref(), &topic).map_err(|error| Fault::pubsub(&error))?;
    let data = body::read(incoming, server.max_body()).await?;
    let content_type = head
        .headers
        .get(CONTENT_TYPE)
        .map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
    let call = Single {
        topic,
        data,
        content_type: content_type.unwrap_or_default(),
        metadata: head.metadata(),
        trace: trace::of_headers(&head.headers),
        trace_beside: false,
    };
    publish::single(server, &entry, Protocol::Http, call)
        .await
        .map_err(|error| Fault::pubsub(&error))?;
    Ok(empty())
}

/// An entry of a bulk request as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(default)]
    entry_id: Option<String>,
    #[serde(default, borrow)]
    event: Option<&'a RawValue>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

pub(super) async fn bulk(
    server: &Arc<Server>,
    head: Head,
    pubsub: impl AsRef<str>,
    topic: impl Into<String>,
    incoming: Incoming,
) -> Answer {
    let topic = topic.into();
    let entry = publish::find(server, pubsub.as_ref(), &topic).map_err(|error| Fault::pubsub(&error))?;
    let metadata = head.metadata();
    publish::is_raw(&entry, &metadata).map_err(|error| Fault::pubsub(&error))?;
    let bytes = body::read(incoming, server.max_body()).await?;
    let entries = entries(&entry, &topic, &bytes).map_err(|error| Fault::pubsub(&error))?;
    let call = Bulk {
        topic: topic.clone(),
        metadata,
        trace: trace::of_headers(&head.headers),
        spans: server
            .tracing
            .now()
            .map(|tracer| (tracer, format!("/v1.0/publish/bulk/{}/{topic}", pubsub.as_ref()))),
        entries,
    };
    let failures = publish::bulk(server, &entry, Protocol::Http, call)
        .await
        .map_err(|error| Fault::pubsub(&error))?;
    let Some(first) = failures.first() else {
        return Ok(empty());
    };
    let fault = Fault::pubsub(&ApiError::Publish {
        pubsub: entry.component.name().to_owned(),
        topic,
        source: first.error.clone(),
    });
    server.metrics.fault(&fault);
    Ok(partly_failed(&fault, &failures))
}

/// Dapr's words for a text that stops too early, whatever it began with, and for one that is something else than a list.
fn unreadable(bytes: &[u8]) -> Option<String> {
    let first = match serde_json::from_slice::<&RawValue>(bytes) {
        Ok(value) => value.get().as_bytes().first().copied()?,
        Err(error) => return error.is_eof().then(|| "unexpected EOF".to_owned()),
    };
    let kind = match first {
        b'{' => "object",
        b'"' => "string",
        b't' | b'f' => "bool",
        b'-' | b'0'..=b'9' => "number",
        _ => return None,
    };
    Some(format!(
        "json: cannot unmarshal {kind} into Go value of type []http.bulkPublishMessageEntry"
    ))
}

fn entries(entry: &PubsubEntry, topic: &str, bytes: &[u8]) -> Result<Vec<BulkEntry>, ApiError> {
    let component = &entry.component;
    let (pubsub, app_id) = (component.name().to_owned(), component.app_id().to_owned());
    let parsed: Result<Option<Vec<Entry<'_>>>, _> = serde_json::from_slice(bytes);
    let parsed = parsed.map_err(|error| ApiError::Unreadable {
        pubsub: pubsub.clone(),
        topic: topic.to_owned(),
        app_id: app_id.clone(),
        reason: unreadable(bytes).unwrap_or_else(|| error.to_string()),
    })?;
    let read = |one: Entry<'_>| {
        let content_type = one.content_type.unwrap_or_default();
        let nothing = RawValue::NULL;
        let event = bulk_event(one.event.unwrap_or(nothing), &content_type).map_err(|reason| ApiError::Mismatch {
            pubsub: pubsub.clone(),
            topic: topic.to_owned(),
            app_id: app_id.clone(),
            reason,
        })?;
        Ok(BulkEntry {
            entry_id: one.entry_id.unwrap_or_default(),
            event,
            content_type,
            metadata: one.metadata.unwrap_or_default(),
        })
    };
    parsed.unwrap_or_default().into_iter().map(read).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed<'a> {
    failed_entries: Vec<FailedEntry<'a>>,
    error_code: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailedEntry<'a> {
    entry_id: &'a str,
    error: String,
}

/// Which entries failed; the words are in headers too, as in Dapr.
fn partly_failed(fault: &Fault, failures: &[BulkPublishFailure]) -> http::Response<super::Body> {
    let failed_entries = failures.iter().map(|failure| FailedEntry {
        entry_id: &failure.entry_id,
        error: failure.error.to_string(),
    });
    let body = Failed {
        failed_entries: failed_entries.collect(),
        error_code: &fault.report.tag,
    };
    let body = serde_json::to_string(&body).unwrap_or_default();
    let mut answer = json(StatusCode::INTERNAL_SERVER_ERROR, body.clone());
    for (name, value) in [
        ("metadata.responsedata", &body),
        ("metadata.error", &fault.report.message),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    answer
}
