//! Hands an event to the application.
//!
//! One idea: by HTTP a POST to the binding's route whose headers are the event's metadata, by gRPC a call that may name
//! bindings for its answer. What the application answers goes back to the service. Must never pass on a header that belongs
//! to a connection, or wait without a deadline.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use palladium_component::bindings::{Event, Metadata, Operation};
use palladium_proto::runtime::app_callback_client::AppCallbackClient;
use palladium_proto::runtime::binding_event_response::BindingEventConcurrency;
use palladium_proto::runtime::{BindingEventRequest, BindingEventResponse};
use percent_encoding::utf8_percent_encode;
use tokio::time::timeout;
use tonic::Code;
use tonic::metadata::MetadataMap;

use crate::app_channel::{AppChannel, is_reserved};
use crate::entry::BindingEntry;
use crate::http::Body;
use crate::invoke::PATH;
use crate::resiliency::Said;
use crate::server::Server;
use crate::trace::{self, About, Kind, Span};

/// The call of an application by gRPC.
const ON_EVENT: &str = "/dapr.proto.runtime.v1.AppCallback/OnBindingEvent";
/// Bytes of the longest answer.
const LONGEST: usize = 4 << 20;
/// How long the application may take for one event.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long the application may take to say whether it wants events.
const ASKING: Duration = Duration::from_secs(3);

/// Whether the application wants a binding's events.
///
/// # Errors
/// Why it could not be asked: that is no answer, and it is to be asked again.
pub(super) async fn is_wanted(app: &AppChannel, entry: &BindingEntry) -> Result<bool, String> {
    if entry.unasked {
        return Ok(true);
    }
    let asked = async {
        if app.speaks_grpc() {
            let listed = app.callback(MetadataMap::new(), (), |channel, request| async move {
                AppCallbackClient::new(channel).list_input_bindings(request).await
            });
            return match listed.await {
                Ok(listed) => Ok(listed.bindings.contains(&entry.out.name)),
                Err(status) if status.code() == Code::Unimplemented => Ok(false),
                Err(status) => Err(status.to_string()),
            };
        }
        let answer = app
            .call(Method::OPTIONS, &path(entry), json_headers(), Body::Empty)
            .await;
        let status = answer.map_err(|error| error.to_string())?.status();
        Ok(status.is_success() || status == StatusCode::METHOD_NOT_ALLOWED)
    };
    let late = |_| Err(format!("no answer within {ASKING:?}"));
    timeout(ASKING, asked).await.unwrap_or_else(late)
}

/// One event; what the application answers, or why it did not handle the event.
pub(super) async fn event(
    server: &Weak<Server>,
    app: &AppChannel,
    entry: &BindingEntry,
    event: Event,
) -> Result<Option<Bytes>, Said> {
    if !app.is_healthy() {
        return Err(Said::words("app is not in a healthy state"));
    }
    let handled = async {
        if app.speaks_grpc() {
            by_grpc(server, app, entry, event).await
        } else {
            by_http(app, entry, event).await
        }
    };
    let late = || Said::words("error invoking app: no answer in time");
    timeout(PATIENCE, handled).await.unwrap_or_else(|_| Err(late()))
}

async fn by_http(app: &AppChannel, entry: &BindingEntry, event: Event) -> Result<Option<Bytes>, Said> {
    let mut headers = HeaderMap::new();
    for (name, value) in event.metadata.iter().filter(|(name, _)| !is_reserved(name)) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    headers.extend(json_headers());
    let path = path(entry);
    let mut span = span(app, entry, &event.metadata, &format!("POST {path}"));
    if let Some(span) = &span {
        span.put(&mut headers);
    }
    let answer = app.call(Method::POST, &path, headers, Body::from(event.data)).await;
    if let (Some(span), Ok(answer)) = (&mut span, &answer) {
        span.http_status(answer.status().as_u16());
    }
    drop(span);
    let answer = answer.map_err(|error| Said::words(format!("error invoking app: {error}")))?;
    let status = answer.status();
    let body = app.read(answer.into_body(), LONGEST).await;
    let body = body.map_err(|fault| Said::words(format!("failed to read response body: {}", fault.report.message)))?;
    if !status.is_success() {
        return Err(Said {
            words: format!(
                "fails to send binding event to http app channel, status code: {} body: {}",
                status.as_u16(),
                String::from_utf8_lossy(&body)
            ),
            code: Some(status.as_u16()),
        });
    }
    Ok(Some(body))
}

async fn by_grpc(
    server: &Weak<Server>,
    app: &AppChannel,
    entry: &BindingEntry,
    event: Event,
) -> Result<Option<Bytes>, Said> {
    let mut span = span(app, entry, &event.metadata, ON_EVENT);
    let mut metadata = MetadataMap::new();
    if let Some(span) = &span {
        span.put(metadata.as_mut());
        if let Some(binary) = span.binary() {
            metadata.as_mut().insert(trace::TRACE_BIN, binary);
        }
    }
    let request = BindingEventRequest {
        name: entry.out.name.clone(),
        data: event.data,
        metadata: event.metadata,
    };
    let answer = app.callback(metadata, request, |channel, request| async move {
        AppCallbackClient::new(channel)
            .max_decoding_message_size(LONGEST)
            .on_binding_event(request)
            .await
    });
    let answer = answer.await;
    if let (Some(span), Err(status)) = (&mut span, &answer) {
        span.failed(status.message());
    }
    drop(span);
    let answer: BindingEventResponse = match answer {
        Ok(answer) => answer,
        Err(status) => return Err(Said::words(format!("error invoking app: {status}"))),
    };
    let data = answer.data.clone();
    if let (Some(server), false) = (server.upgrade(), answer.to.is_empty()) {
        fan_out(&server, answer).await;
    }
    Ok(Some(data))
}

/// The span of an event's way to the application; `None` where calls are not traced. `to`: what is called.
fn span(app: &AppChannel, entry: &BindingEntry, metadata: &Metadata, to: &str) -> Option<Span> {
    let said = |name: &str| metadata.get(name).map_or("", String::as_str);
    let tracer = app.tracer()?;
    let name = format!("bindings/{}", entry.out.name);
    let mut span = tracer.below(name, Kind::Client, said("traceparent"), said("tracestate"));
    if span.is_seen() {
        let about = About::default();
        about.say_all(&[
            ("db.name", &entry.out.name),
            ("rpc.service", "Dapr"),
            ("db.system", "bindings"),
            ("db.connection_string", to),
        ]);
        span.tell(Some(&about));
    }
    Some(span)
}

/// Passes the application's answer on to the bindings that it names.
async fn fan_out(server: &Arc<Server>, answer: BindingEventResponse) {
    // As in Dapr: what is not JSON is passed on as nothing.
    let parsed = serde_json::from_slice::<serde_json::Value>(&answer.data).unwrap_or_default();
    let operation = Operation {
        name: "create".to_owned(),
        data: parsed.to_string().into(),
        ..Operation::default()
    };
    let send = |name: String| {
        let operation = &operation;
        async move {
            let sent = super::send(server, &name, operation).await;
            sent.map(drop)
                .map_err(|failed| tracing::error!("error executing app response: {}", failed.fault.report.message))
        }
    };
    if answer.concurrency == i32::from(BindingEventConcurrency::Parallel) {
        join_all(answer.to.into_iter().map(send)).await;
        return;
    }
    for name in answer.to {
        if send(name).await.is_err() {
            return;
        }
    }
}

fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

fn path(entry: &BindingEntry) -> String {
    format!("/{}", utf8_percent_encode(entry.route.trim_start_matches('/'), PATH))
}

#[cfg(test)]
mod tests;
