//! What traces and logs say of a call of the HTTP API.
//!
//! One idea: a call is named as Dapr names it; its query, body and token are never said. Must never do anything for a call
//! that nobody will see.

use http::request::Parts;
use http::{HeaderMap, Method, Response};

use super::Body;
use super::route::Route;
use crate::resources::ApiLogging;
use crate::server::Server;
use crate::trace::{self, About, BadBaggage, Kind, Span};

/// A call under way, as traces see it. Nothing of it is there where calls are not traced.
#[derive(Default)]
pub(super) struct Traced {
    span: Option<Span>,
    about: Option<About>,
    baggage: Option<http::HeaderValue>,
}

impl Traced {
    /// Begins; health checks are in no trace. The headers then say where the call stands.
    ///
    /// # Errors
    /// When the baggage is none.
    pub(super) fn begin(server: &Server, route: &Route<'_>, path: &str, parts: &mut Parts) -> Result<Self, BadBaggage> {
        if matches!(route, Route::Health | Route::HealthOutbound) {
            return Ok(Self::default());
        }
        trace::check_baggage(&parts.headers)?;
        let baggage = trace::joined_baggage(&parts.headers);
        let Some(tracer) = server.tracing.now() else {
            return Ok(Self {
                baggage,
                ..Self::default()
            });
        };
        let span = tracer.enter(path.to_owned(), Kind::Client, &mut parts.headers);
        let about = span.about(&parts.headers);
        if let Some(about) = &about {
            tell(about, route, &parts.method, path);
        }
        Ok(Self {
            span: Some(span),
            about,
            baggage,
        })
    }

    /// A place for those who find out more.
    pub(super) fn about(&self) -> Option<About> {
        self.about.clone()
    }

    /// Ends, and makes the answer say where the call stood.
    pub(super) fn end(self, answer: &mut Response<Body>) {
        let status = answer.status().as_u16();
        let headers = answer.headers_mut();
        if let Some(baggage) = self.baggage {
            headers.entry(trace::BAGGAGE).or_insert(baggage);
        }
        let Some(mut span) = self.span else { return };
        if !headers.contains_key(&trace::TRACEPARENT) {
            span.put(headers);
        }
        if let Some(about) = &self.about {
            about.say("dapr.status_code", &status.to_string());
        }
        span.tell(self.about.as_ref());
        span.http_status(status);
    }
}

fn tell(about: &About, route: &Route<'_>, method: &Method, path: &str) {
    let statement = format!("{method} {path}");
    match route {
        Route::StateGet { store, .. }
        | Route::StateSave { store }
        | Route::StateDelete { store, .. }
        | Route::StateBulkGet { store }
        | Route::StateTransaction { store }
        | Route::StateQuery { store } => about.stored("state", store, &statement),
        Route::SecretGet { store, .. } | Route::SecretGetAll { store } => about.stored("secrets", store, &statement),
        Route::Binding { name } => about.stored("bindings", name, &statement),
        Route::Publish { topic, .. } | Route::BulkPublish { topic, .. } => about.messaged(topic),
        _ => {}
    }
    about.say_all(&[
        ("dapr.protocol", "http"),
        ("dapr.api", &statement),
        ("http.request.method", method.as_str()),
        ("url.full", path),
    ]);
}

/// What is logged of a call, gathered before it.
pub(super) struct Logged {
    method: String,
    agent: String,
}

impl Logged {
    /// `None` = it is not logged: no API of ours, or a health check where those are left out.
    pub(super) fn new(
        how: ApiLogging,
        route: &Route<'_>,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let is_health = matches!(route, Route::Health | Route::HealthOutbound);
        if !how.enabled || (is_health && how.omit_health_checks) {
            return None;
        }
        let agent = headers
            .get(http::header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok());
        Some(Self {
            method: if how.obfuscate_urls {
                name(route).to_owned()
            } else {
                format!("{method} {path}")
            },
            agent: agent.unwrap_or_default().to_owned(),
        })
    }

    /// Writes the line.
    pub(super) fn write(&self, answer: &Response<Body>, elapsed: std::time::Duration) {
        let size = http_body::Body::size_hint(answer.body()).exact().unwrap_or_default();
        let (code, duration) = (answer.status().as_u16(), elapsed.as_millis());
        crate::logs::called("HTTP", &self.method, i32::from(code), duration, Some(size), &self.agent);
    }
}

/// As Dapr names the API, without anything of the caller's.
fn name(route: &Route<'_>) -> &'static str {
    match route {
        Route::StateGet { .. } => "GetState",
        Route::StateSave { .. } => "SaveState",
        Route::StateDelete { .. } => "DeleteState",
        Route::StateBulkGet { .. } => "GetBulkState",
        Route::StateTransaction { .. } => "ExecuteStateTransaction",
        Route::StateQuery { .. } => "QueryStateAlpha1",
        Route::Publish { .. } => "PublishEvent",
        Route::BulkPublish { .. } => "BulkPublishEvent",
        Route::SecretGet { .. } => "GetSecret",
        Route::SecretGetAll { .. } => "GetBulkSecret",
        Route::Binding { .. } => "InvokeBinding",
        Route::Converse { .. } => "Converse",
        Route::ConfigurationGet { .. } => "GetConfiguration",
        Route::ConfigurationSubscribe { .. } => "SubscribeConfiguration",
        Route::ConfigurationUnsubscribe { .. } => "UnsubscribeConfiguration",
        Route::Lock { .. } => "TryLock",
        Route::Unlock { .. } => "Unlock",
        Route::Encrypt { .. } => "Encrypt",
        Route::Decrypt { .. } => "Decrypt",
        Route::MetadataGet => "GetMetadata",
        Route::MetadataPut { .. } => "PutMetadata",
        Route::Health => "Healthz",
        Route::HealthOutbound => "HealthzOutbound",
        Route::Shutdown => "Shutdown",
        Route::Invoke | Route::Fallback | Route::Malformed(_) => "InvokeService",
        Route::Unavailable { group, .. } => group,
    }
}
