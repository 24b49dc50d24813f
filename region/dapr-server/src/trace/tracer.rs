//! Spans of calls.
//!
//! One idea: a span begins with where the headers say that the call stands, and is put into the same headers; what it is
//! about is only gathered where somebody will see it. The library decides what is sampled and keeps finished spans in a
//! bounded queue; where that is full they are dropped. Must never hold a token, a body or a query.

use std::borrow::Cow;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider};

use super::{TRACEPARENT, TRACESTATE, binary_header, export, read, text};
use crate::auth::TOKEN_HEADER;
use crate::resources::TracingSettings;

/// As Dapr calls itself.
const SCOPE: &str = "dapr-diagnostics";
/// Of traces that begin here, where the Configuration names a collector and no rate.
const RATE: f64 = 1e-4;
/// Longer ones are not passed on.
const LONGEST_STATE: usize = 512;
/// Bytes of the longest value that a span holds.
const LONGEST_VALUE: usize = 1024;
/// How long the last spans may take to get out.
const CLOSING: Duration = Duration::from_secs(3);

/// Why calls cannot be traced as configured.
#[derive(Debug, thiserror::Error)]
pub enum TracingError {
    /// Neither `grpc` nor `http`.
    #[error("invalid protocol {0} provided for Otel endpoint")]
    Protocol(String),
    /// No address.
    #[error("{0:?} is not the address of a collector")]
    Address(String),
    /// An address that no tenant may have called.
    #[error("spans cannot be sent to {0}: that address may not be called here")]
    Refused(String),
    /// Its value is not said: it may be a key.
    #[error("spec.tracing.otel.headers: {0:?} cannot be sent")]
    Header(String),
    /// The system has no certificates.
    #[error("TLS to the collector cannot be set up: no certificate authorities are known to this system")]
    Tls,
    /// A mistake of ours.
    #[error("there is no runtime to export from")]
    Runtime,
}

/// Whether and how calls are traced. Replaced as a whole.
#[derive(Default)]
pub struct Tracing {
    now: ArcSwapOption<Tracer>,
    /// What `now` was made of.
    settings: Mutex<TracingSettings>,
}

impl Tracing {
    /// Traces calls as a Configuration says, a tenant's where it is `hosted`, from now on. Nothing happens when it says what is so already. Call it where
    /// there is a runtime, which exports.
    ///
    /// # Errors
    /// See [`TracingError`]; then everything stays as it is.
    pub fn apply(&self, settings: &TracingSettings, app_id: &str, hosted: bool) -> Result<(), TracingError> {
        let mut now = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if *now == *settings {
            return Ok(());
        }
        let tracer = Tracer::new(settings, app_id, hosted)?;
        *now = settings.clone();
        let old = self.now.swap(tracer.map(Arc::new));
        drop(now);
        if let Some(old) = old {
            // It waits for the last export. A thread, because the runtime that exports must not.
            let close = move || old.shut_down();
            if let Err(error) = std::thread::Builder::new().name("trace-close".to_owned()).spawn(close) {
                tracing::warn!(%error, "the last spans are lost");
            }
        }
        Ok(())
    }

    /// What traces calls; `None` = nothing does.
    pub fn now(&self) -> Option<Arc<Tracer>> {
        self.now.load_full()
    }

    /// Ends it, after what is finished has been exported, as far as that is possible in time.
    pub async fn close(&self) {
        let Some(old) = self.now.swap(None) else { return };
        let closed = tokio::task::spawn_blocking(move || old.shut_down());
        if tokio::time::timeout(CLOSING + Duration::from_secs(1), closed)
            .await
            .is_err()
        {
            tracing::warn!("the last spans are lost: no answer in time");
        }
    }
}

/// Makes spans.
pub struct Tracer {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// On which side of a call a span is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// As Dapr has calls of its API.
    Client,
    /// Calls of peers.
    Server,
    /// Each of many messages that are published together.
    Producer,
}

impl Tracer {
    fn new(settings: &TracingSettings, app_id: &str, hosted: bool) -> Result<Option<Self>, TracingError> {
        let service = settings.resource.iter().find(|(name, _)| name == "service.name");
        let service = service.map_or(app_id, |(_, name)| name.as_str());
        let attributes = settings
            .resource
            .iter()
            .cloned()
            .map(|(name, value)| KeyValue::new(name, value));
        let resource = Resource::builder_empty()
            .with_attributes(attributes)
            .with_attribute(KeyValue::new("service.name", service.to_owned()))
            .build();
        let exporters = export::exporters(settings, service, &resource, hosted)?;
        if exporters.is_empty() && settings.sampling_rate.is_empty() {
            return Ok(None);
        }
        let rate = settings.sampling_rate.trim().parse().unwrap_or(RATE);
        let mut builder = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(rate))))
            .with_resource(resource);
        for exporter in exporters {
            builder = builder.with_span_processor(BatchSpanProcessor::builder(exporter).build());
        }
        let provider = builder.build();
        let tracer = provider.tracer(SCOPE);
        Ok(Some(Self { provider, tracer }))
    }

    fn shut_down(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(CLOSING) {
            tracing::debug!(%error, "spans were lost at the end");
        }
    }

    /// Begins a span where `headers` say that the call stands, and makes them say that it stands in the span.
    pub fn enter(&self, name: impl Into<Cow<'static, str>>, kind: Kind, headers: &mut HeaderMap) -> Span {
        let parent = context(text(headers, &TRACEPARENT), text(headers, &TRACESTATE));
        let span = self.start(name.into(), kind, parent);
        span.put(headers);
        span
    }

    /// Begins a span below a `traceparent` that came some other way.
    pub fn below(&self, name: impl Into<Cow<'static, str>>, kind: Kind, parent: &str, state: &str) -> Span {
        self.start(name.into(), kind, context(parent, state))
    }

    fn start(&self, name: Cow<'static, str>, kind: Kind, parent: Option<SpanContext>) -> Span {
        let builder = SpanBuilder::from_name(name).with_kind(match kind {
            Kind::Client => SpanKind::Client,
            Kind::Server => SpanKind::Server,
            Kind::Producer => SpanKind::Producer,
        });
        let around = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        Span(self.tracer.build_with_context(builder, &around))
    }
}

/// Where a text says that a call stands.
fn context(parent: &str, state: &str) -> Option<SpanContext> {
    let read = read(parent)?;
    Some(SpanContext::new(
        TraceId::from_bytes(read.trace),
        SpanId::from_bytes(read.span),
        TraceFlags::new(read.flags),
        true,
        TraceState::from_str(state).unwrap_or_default(),
    ))
}

/// A call under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Span(opentelemetry_sdk::trace::Span);

impl Span {
    /// As a `traceparent`.
    pub fn parent(&self) -> String {
        let context = self.0.span_context();
        format!(
            "00-{}-{}-{:02x}",
            context.trace_id(),
            context.span_id(),
            context.trace_flags().to_u8()
        )
    }

    /// As a `tracestate`; empty = none.
    pub fn state(&self) -> String {
        let state = self.0.span_context().trace_state().header();
        if state.len() > LONGEST_STATE {
            String::new()
        } else {
            state
        }
    }

    /// Makes headers say that the call stands here.
    pub fn put(&self, headers: &mut HeaderMap) {
        if let Ok(parent) = HeaderValue::try_from(self.parent()) {
            headers.insert(TRACEPARENT, parent);
        }
        match HeaderValue::try_from(self.state()) {
            Ok(state) if !state.is_empty() => drop(headers.insert(TRACESTATE, state)),
            _ => drop(headers.remove(TRACESTATE)),
        }
    }

    /// The same in gRPC's binary form.
    pub fn binary(&self) -> Option<HeaderValue> {
        binary_header(&self.parent())
    }

    /// Whether anybody will see it.
    pub fn is_seen(&self) -> bool {
        self.0.is_recording()
    }

    /// A place for those who know what it is about; `None` where nobody will see it. `headers`: those that are named as
    /// Dapr's own are told, but for tokens.
    pub fn about(&self, headers: &HeaderMap) -> Option<About> {
        if !self.is_seen() {
            return None;
        }
        let about = About::default();
        for (name, value) in headers {
            let name = name.as_str();
            let told =
                name.starts_with("dapr-") && !name.ends_with("-bin") && name != TOKEN_HEADER && !value.is_sensitive();
            if let (true, Ok(value)) = (told, value.to_str()) {
                about.say(name.to_owned(), value);
            }
        }
        Some(about)
    }

    /// Says what it was about.
    pub fn tell(&mut self, about: Option<&About>) {
        let Some(about) = about else { return };
        let said = std::mem::take(&mut *about.lock());
        if let Some(name) = said.name {
            self.0.update_name(name);
        }
        for (name, value) in said.attributes {
            self.0.set_attribute(KeyValue::new(name, value));
        }
    }

    /// It ended with a status of HTTP.
    pub fn http_status(&mut self, status: u16) {
        if status >= 400 && self.is_seen() {
            let known = http::StatusCode::from_u16(status).ok();
            let words = known.and_then(|status| status.canonical_reason()).unwrap_or("Unknown");
            self.0.set_status(Status::error(format!("Code({status}): {words}")));
        }
    }

    /// It ended with a failure of gRPC.
    pub fn failed(&mut self, words: &str) {
        if self.is_seen() {
            self.0.set_status(Status::error(short(words)));
        }
    }
}

/// What a span is about, said by whoever finds out. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct About(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    name: Option<String>,
    attributes: Vec<(Cow<'static, str>, String)>,
}

impl About {
    fn lock(&self) -> std::sync::MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attribute; empty ones are left out.
    pub fn say(&self, name: impl Into<Cow<'static, str>>, value: &str) {
        if !value.is_empty() {
            self.lock().attributes.push((name.into(), short(value)));
        }
    }

    /// Several of them.
    pub fn say_all(&self, pairs: &[(&'static str, &str)]) {
        for (name, value) in pairs {
            self.say(*name, value);
        }
    }

    /// Another name for the span.
    pub fn rename(&self, name: String) {
        self.lock().name = Some(short(&name));
    }

    /// A call of an application.
    pub fn invoked(&self, target: &str, method: &str) {
        self.say_all(&[("rpc.service", "ServiceInvocation"), ("net.peer.name", target)]);
        self.rename(format!("CallLocal/{target}/{method}"));
    }

    /// A call of a component that holds or takes something. `statement`: the call itself.
    pub fn stored(&self, block: &'static str, component: &str, statement: &str) {
        self.say_all(&[
            ("db.system", block),
            ("db.connection_string", block),
            ("db.statement", statement),
            ("db.name", component),
        ]);
    }

    /// Publishing, or a delivery.
    pub fn messaged(&self, topic: &str) {
        self.say_all(&[("messaging.system", "pubsub"), ("messaging.destination.name", topic)]);
    }
}

fn short(text: &str) -> String {
    let end = (0..=LONGEST_VALUE.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests;
