//! Delivery by HTTP: one POST, the envelope as its body.
//!
//! One idea: any 2xx is a success unless the answer's `status` says otherwise; 404 means "not wanted". Must never pass on a
//! length, a token or a hop's header that travelled beside the message.

use std::collections::HashMap;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use palladium_engine_pubsub::{BulkEvent, Incoming, Metadata, Verdict, entries_json};
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;

use super::{all, traceparent};
use crate::app_channel::{AppChannel, is_reserved};
use crate::http::Body;
use crate::invoke::PATH;
use crate::trace;

/// Bytes of the longest answer that is looked at.
const LONGEST: usize = 4 << 20;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    status: Option<String>,
}

#[derive(Deserialize)]
struct BulkAnswer {
    #[serde(default)]
    statuses: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    entry_id: String,
    #[serde(default)]
    status: String,
}

pub(super) async fn one(app: &AppChannel, incoming: &Incoming) -> Verdict {
    let mut headers = headers(&incoming.metadata, "application/cloudevents+json");
    let mut span = None;
    if let Some(parent) = traceparent(&incoming.event) {
        span = super::span(app, incoming, &parent);
        if let Some(span) = &span {
            span.put(&mut headers);
        } else {
            let parent = trace::valid(&parent).unwrap_or(trace::NOWHERE);
            insert(&mut headers, "traceparent", parent);
            if let Some(state) = incoming.event.text("tracestate").filter(|state| !state.is_empty()) {
                insert(&mut headers, "tracestate", &state);
            }
        }
    }
    let answer = post(app, &incoming.path, headers, incoming.event.body().clone()).await;
    if let (Some(span), Ok((status, _))) = (&mut span, &answer) {
        span.http_status(status.as_u16());
    }
    match answer {
        Err(reason) => Verdict::Retry(reason),
        Ok((StatusCode::NOT_FOUND, _)) => {
            tracing::error!("non-retriable error returned from app while processing pub/sub event: status code 404");
            Verdict::Drop
        }
        Ok((status, body)) if status.is_success() => verdict(&body),
        Ok((status, _)) => Verdict::Retry(format!("status code returned from app: {}", status.as_u16())),
    }
}

/// What the answer to one event says. As in Dapr, an answer that is something else says nothing, and only the first
/// document counts.
fn verdict(body: &[u8]) -> Verdict {
    let answer = serde_json::Deserializer::from_slice(body).into_iter::<Answer>().next();
    let status = match answer {
        Some(Ok(answer)) => answer.status.unwrap_or_default(),
        _ => String::new(),
    };
    match status.as_str() {
        "" | "SUCCESS" => Verdict::Success,
        "RETRY" => Verdict::Retry("RETRY status returned from app".to_owned()),
        "DROP" => {
            tracing::warn!("DROP status returned from app while processing pub/sub event");
            Verdict::Drop
        }
        _ => Verdict::Retry("unknown status returned from app".to_owned()),
    }
}

pub(super) async fn many(app: &AppChannel, bulk: &BulkEvent) -> Vec<Verdict> {
    let retry = |reason: String| all(bulk, &Verdict::Retry(reason));
    let body = match entries_json(bulk) {
        Ok(body) => body,
        Err(reason) => return retry(reason),
    };
    let headers = headers(&bulk.metadata, "application/json");
    match post(app, &bulk.path, headers, body).await {
        Err(reason) => retry(reason),
        Ok((StatusCode::NOT_FOUND, _)) => all(bulk, &Verdict::Drop),
        Ok((status, body)) if status.is_success() => match verdicts(bulk, &body) {
            Ok(verdicts) => verdicts,
            Err(error) => retry(format!("failed unmarshalling app response for bulk subscribe: {error}")),
        },
        Ok((status, _)) => retry(format!("status code returned from app: {}", status.as_u16())),
    }
}

fn verdicts(bulk: &BulkEvent, body: &[u8]) -> Result<Vec<Verdict>, serde_json::Error> {
    let answer: BulkAnswer = serde_json::from_slice(body)?;
    let statuses = answer.statuses.unwrap_or_default();
    let by_id: HashMap<&str, &str> = statuses
        .iter()
        .map(|one| (one.entry_id.as_str(), one.status.as_str()))
        .collect();
    let one = |id: &str| match by_id.get(id).copied() {
        Some("SUCCESS") => Verdict::Success,
        Some("DROP") => Verdict::Drop,
        Some("" | "RETRY") => Verdict::Retry("RETRY required for this entry".to_owned()),
        Some(_) => Verdict::Retry("unknown status returned from app for this entry".to_owned()),
        None => Verdict::Retry("response not received for this entry".to_owned()),
    };
    Ok(bulk.entries.iter().map(|item| one(&item.entry_id)).collect())
}

/// What travelled beside a message, as headers. What cannot be a header is left out.
fn headers(metadata: &Metadata, content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in metadata.iter().filter(|(name, _)| !is_reserved(name)) {
        insert(&mut headers, name, value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

async fn post(app: &AppChannel, path: &str, headers: HeaderMap, body: Bytes) -> Result<(StatusCode, Bytes), String> {
    let path = format!("/{}", utf8_percent_encode(path.trim_start_matches('/'), PATH));
    let answer = app
        .call(Method::POST, &path, headers, Body::from(body))
        .await
        .map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = app
        .read(answer.into_body(), LONGEST)
        .await
        .map_err(|fault| fault.report.message)?;
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_dapr_reads_it() {
        for good in [
            "",
            "OK",
            "{}",
            r#"{"status":""}"#,
            r#"{"status":"SUCCESS"} x"#,
            r#"{"status":7}"#,
            r#"{"status":null}"#,
        ] {
            assert_eq!(verdict(good.as_bytes()), Verdict::Success, "{good}");
        }
        assert_eq!(verdict(br#"{"status":"DROP"}"#), Verdict::Drop);
        for again in [r#"{"status":"RETRY"}"#, r#"{"status":"success"}"#] {
            assert!(matches!(verdict(again.as_bytes()), Verdict::Retry(_)), "{again}");
        }
    }

    #[test]
    fn lengths_and_what_is_no_header_stay_behind() {
        let metadata = [
            ("content-length", "1"),
            ("a b", "x"),
            ("pubsubName", "ps"),
            ("Content-Type", "y"),
            ("n", "a\nb"),
        ];
        let metadata = metadata
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let headers = headers(&metadata, "application/json");
        assert_eq!(headers.len(), 2, "{headers:?}");
        assert!(headers["pubsubname"] == "ps" && headers["content-type"] == "application/json");
    }
}
