//! Spans in Zipkin's form, version 2 of its JSON.
//!
//! One idea: a span's attributes are its tags; all numbers are microseconds. Must never write more than a span holds.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Map, Value, json};

/// A batch, as a collector takes it.
pub fn json(spans: &[SpanData], service: &str) -> Vec<u8> {
    let spans: Vec<Value> = spans.iter().map(|span| one(span, service)).collect();
    Value::from(spans).to_string().into_bytes()
}

fn one(span: &SpanData, service: &str) -> Value {
    let context = &span.span_context;
    let mut tags: Map<String, Value> = span
        .attributes
        .iter()
        .map(|one| (one.key.as_str().to_owned(), one.value.as_str().into_owned().into()))
        .collect();
    tags.insert("otel.scope.name".to_owned(), span.instrumentation_scope.name().into());
    if let Status::Error { description } = &span.status {
        tags.insert("otel.status_code".to_owned(), "ERROR".into());
        tags.insert("error".to_owned(), description.as_ref().into());
    }
    let duration = span.end_time.duration_since(span.start_time).unwrap_or_default();
    let mut json = json!({
        "traceId": context.trace_id().to_string(),
        "id": context.span_id().to_string(),
        "name": span.name,
        "timestamp": micros(span.start_time),
        // Zero would say that it is not over.
        "duration": u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1),
        "localEndpoint": { "serviceName": service },
        "tags": tags,
    });
    if span.parent_span_id != SpanId::INVALID {
        json["parentId"] = span.parent_span_id.to_string().into();
    }
    let kind = match span.span_kind {
        SpanKind::Client => Some("CLIENT"),
        SpanKind::Server => Some("SERVER"),
        SpanKind::Producer => Some("PRODUCER"),
        SpanKind::Consumer => Some("CONSUMER"),
        SpanKind::Internal => None,
    };
    if let Some(kind) = kind {
        json["kind"] = kind.into();
    }
    json
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::trace::{SpanContext, TraceFlags, TraceId, TraceState};
    use opentelemetry::{InstrumentationScope, KeyValue};

    use super::*;

    #[test]
    fn a_span_is_written_as_collectors_read_it() {
        let span = SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes([1; 16]),
                SpanId::from_bytes([2; 8]),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: SpanId::from_bytes([3; 8]),
            parent_span_is_remote: true,
            span_kind: SpanKind::Client,
            name: "CallLocal/a/b".into(),
            start_time: UNIX_EPOCH + Duration::from_micros(5),
            end_time: UNIX_EPOCH + Duration::from_micros(12),
            attributes: vec![KeyValue::new("dapr.protocol", "http")],
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::error("Code(500): x"),
            instrumentation_scope: InstrumentationScope::builder("s").build(),
        };
        let written: Value = serde_json::from_slice(&json(&[span], "me")).expect("JSON");
        assert_eq!(
            written,
            json!([{
                "traceId": "01010101010101010101010101010101", "id": "0202020202020202", "parentId": "0303030303030303",
                "name": "CallLocal/a/b", "kind": "CLIENT", "timestamp": 5, "duration": 7,
                "localEndpoint": { "serviceName": "me" },
                "tags": { "dapr.protocol": "http", "otel.scope.name": "s", "otel.status_code": "ERROR",
                          "error": "Code(500): x" },
            }])
        );
    }
}
