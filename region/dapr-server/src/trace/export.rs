//! Where finished spans go: collectors that speak OTLP or Zipkin, or the log.
//!
//! One idea: the library queues spans, up to a bound, and hands batches to one thread of its own; that thread waits here
//! while the process's runtime sends, so no call ever does. A batch that cannot be delivered in time is lost and said once.
//! Must never say what goes along with an export: keys of collectors are among it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use palladium_components_web::{client_builder, connector, is_refused};
use palladium_tls::{ALPN_H2, WebRoots, web_client_config};
use prost::Message as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;
use tower_service::Service as _;

use super::TracingError;
use super::zipkin;
use crate::resources::TracingSettings;

/// How long one batch is tried, unless the Configuration says otherwise; as OpenTelemetry has it.
const DEADLINE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
/// Pauses between tries of one batch, which its deadline may cut short.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// Exports to one place.
pub struct Exporter {
    way: Arc<Way>,
    runtime: Handle,
    deadline: Duration,
    resource: Arc<ResourceAttributesWithSchema>,
    service: String,
    /// Whether the last batch was lost.
    failing: AtomicBool,
}

/// How spans get there.
enum Way {
    Grpc {
        client: TraceServiceClient<Channel>,
        metadata: MetadataMap,
    },
    Http {
        client: reqwest::Client,
        url: reqwest::Url,
        headers: HeaderMap,
    },
    Zipkin {
        client: reqwest::Client,
        url: reqwest::Url,
    },
    Log,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

/// All exporters that a Configuration names, a tenant's where it is `hosted`; call it where there is a runtime.
///
/// # Errors
/// See [`TracingError`].
pub fn exporters(
    settings: &TracingSettings,
    service: &str,
    resource: &Resource,
    hosted: bool,
) -> Result<Vec<Exporter>, TracingError> {
    let mut ways = Vec::new();
    if settings.stdout {
        ways.push(Way::Log);
    }
    if !settings.zipkin.is_empty() {
        let url = url(&settings.zipkin, hosted)?;
        let client = client(hosted)?;
        ways.push(Way::Zipkin { client, url });
    }
    let otel = &settings.otel;
    // As in Dapr: an address without a protocol is not used.
    if !otel.endpoint.is_empty() && !otel.protocol.is_empty() {
        let (secure, endpoint) = match otel.endpoint.split_once("://") {
            Some((scheme, rest)) => (otel.secure.unwrap_or(scheme != "http"), rest),
            None => (otel.secure.unwrap_or(true), otel.endpoint.as_str()),
        };
        // Whoever judges the address must read the same host in it.
        if endpoint.contains(['?', '#', '@', '\\']) {
            return Err(TracingError::Address(endpoint.to_owned()));
        }
        let headers = headers(&otel.headers)?;
        ways.push(match otel.protocol.as_str() {
            "grpc" => Way::Grpc {
                client: TraceServiceClient::new(channel(endpoint, secure, hosted)?),
                metadata: MetadataMap::from_headers(headers),
            },
            "http" => {
                let scheme = if secure { "https" } else { "http" };
                Way::Http {
                    client: client(hosted)?,
                    url: url(
                        &format!("{scheme}://{}/v1/traces", endpoint.trim_end_matches('/')),
                        hosted,
                    )?,
                    headers,
                }
            }
            other => return Err(TracingError::Protocol(other.to_owned())),
        });
    }
    let runtime = Handle::try_current().map_err(|_| TracingError::Runtime)?;
    let attributes = Arc::new(ResourceAttributesWithSchema::from(resource));
    let made = ways.into_iter().map(|way| Exporter {
        way: Arc::new(way),
        runtime: runtime.clone(),
        deadline: otel.timeout.unwrap_or(DEADLINE),
        resource: attributes.clone(),
        service: service.to_owned(),
        failing: AtomicBool::new(false),
    });
    Ok(made.collect())
}

fn client(hosted: bool) -> Result<reqwest::Client, TracingError> {
    let builder = client_builder(hosted).connect_timeout(CONNECT);
    builder.build().map_err(|_| TracingError::Tls)
}

fn url(text: &str, hosted: bool) -> Result<reqwest::Url, TracingError> {
    let url: reqwest::Url = text.parse().map_err(|_| TracingError::Address(text.to_owned()))?;
    let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
    match host {
        None => Err(TracingError::Address(text.to_owned())),
        Some(host) if hosted && is_refused(host) => Err(TracingError::Refused(host.to_owned())),
        Some(_) => Ok(url),
    }
}

fn channel(address: &str, secure: bool, hosted: bool) -> Result<Channel, TracingError> {
    let invalid = || TracingError::Address(address.to_owned());
    let authority: http::uri::Authority = address.parse().map_err(|_| invalid())?;
    if hosted && is_refused(authority.host()) {
        return Err(TracingError::Refused(authority.host().to_owned()));
    }
    let (scheme, roots) = match secure {
        true => ("https", WebRoots::System),
        false => ("http", WebRoots::Nobody),
    };
    let config = web_client_config(roots, None, ALPN_H2).map_err(|_| TracingError::Tls)?;
    let uri: Uri = format!("{scheme}://{authority}").parse().map_err(|_| invalid())?;
    // tonic refuses to dial an https URI without its own TLS; what the collector sees is the origin.
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|_| invalid())?;
    let endpoint = endpoint.origin(uri.clone()).connect_timeout(CONNECT);
    let connector = connector(config, hosted);
    let dial = service_fn(move |_: Uri| connector.clone().call(uri.clone()));
    Ok(endpoint.connect_with_connector_lazy(dial))
}

fn headers(pairs: &[(String, SecretString)]) -> Result<HeaderMap, TracingError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let bad = || TracingError::Header(name.clone());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        // Binary metadata are written in another way, and none of our words may be replaced.
        if name.as_str().ends_with("-bin") || ["content-type", "content-length", "host", "te"].contains(&name.as_str())
        {
            return Err(bad());
        }
        let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let payload = match &*self.way {
            Way::Log => {
                batch.iter().for_each(log);
                return Ok(());
            }
            Way::Zipkin { .. } => Payload::Bytes(zipkin::json(&batch, &self.service).into()),
            Way::Grpc { .. } => Payload::Message(self.request(batch)),
            Way::Http { .. } => Payload::Bytes(self.request(batch).encode_to_vec().into()),
        };
        let (way, deadline) = (self.way.clone(), self.deadline);
        let sending = self
            .runtime
            .spawn(async move { timeout(deadline, deliver(&way, payload)).await });
        let failure = match sending.await {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(reason))) => Some(reason),
            Ok(Err(_)) => Some("no answer in time".to_owned()),
            // The process ends.
            Err(_) => return Ok(()),
        };
        match (self.failing.swap(failure.is_some(), Ordering::Relaxed), failure) {
            (false, Some(reason)) => tracing::warn!("Spans cannot be exported and are lost: {reason}"),
            (true, None) => tracing::info!("Spans are exported again"),
            _ => {}
        }
        // The library would say each lost batch once more.
        Ok(())
    }
}

impl Exporter {
    fn request(&self, batch: Vec<SpanData>) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(batch, &self.resource),
        }
    }
}

/// A batch as it is sent.
#[derive(Clone)]
enum Payload {
    Bytes(bytes::Bytes),
    Message(ExportTraceServiceRequest),
}

/// Sends a batch, more than once if the other side is only busy.
async fn deliver(way: &Way, payload: Payload) -> Result<(), String> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let failure = match send(way, payload.clone()).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        match pauses.next().filter(|_| failure.passing) {
            Some(pause) => sleep(pause).await,
            None => return Err(failure.reason),
        }
    }
}

struct Failure {
    reason: String,
    /// Whether it may go better later.
    passing: bool,
}

async fn send(way: &Way, payload: Payload) -> Result<(), Failure> {
    let (client, url, headers, kind, payload) = match (way, payload) {
        (Way::Grpc { client, metadata }, Payload::Message(message)) => {
            return by_grpc(client.clone(), metadata.clone(), message).await;
        }
        (Way::Http { client, url, headers }, Payload::Bytes(payload)) => {
            (client, url, headers.clone(), "application/x-protobuf", payload)
        }
        (Way::Zipkin { client, url }, Payload::Bytes(payload)) => {
            (client, url, HeaderMap::new(), "application/json", payload)
        }
        // Nothing is made that does not fit.
        _ => return Ok(()),
    };
    let request = client
        .post(url.clone())
        .headers(headers)
        .header(http::header::CONTENT_TYPE, kind)
        .body(payload);
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(Failure {
            reason: format!("the collector answered {}", answer.status()),
            passing: matches!(answer.status().as_u16(), 429 | 502..=504),
        }),
        Err(error) => Err(Failure {
            passing: error.is_connect(),
            reason: error.without_url().to_string(),
        }),
    }
}

async fn by_grpc(
    mut client: TraceServiceClient<Channel>,
    metadata: MetadataMap,
    message: ExportTraceServiceRequest,
) -> Result<(), Failure> {
    let request = tonic::Request::from_parts(metadata, http::Extensions::new(), message);
    client.export(request).await.map(drop).map_err(|status| Failure {
        passing: matches!(
            status.code(),
            tonic::Code::Unavailable | tonic::Code::ResourceExhausted | tonic::Code::Aborted
        ),
        reason: format!("the collector answered {:?}: {}", status.code(), status.message()),
    })
}

fn log(span: &SpanData) {
    let (context, parent) = (&span.span_context, span.parent_span_id);
    let lasted = span.end_time.duration_since(span.start_time).unwrap_or_default();
    tracing::info!(
        "[{}] Trace: {} Span: {parent}/{} Time: {lasted:?}",
        span.name,
        context.trace_id(),
        context.span_id()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::OtelSettings;

    fn with(protocol: &str, endpoint: &str, headers: &[(&str, &str)]) -> Result<Vec<Exporter>, TracingError> {
        asked(protocol, endpoint, headers, false)
    }

    fn asked(
        protocol: &str,
        endpoint: &str,
        headers: &[(&str, &str)],
        hosted: bool,
    ) -> Result<Vec<Exporter>, TracingError> {
        palladium_tls::install_crypto_provider();
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), SecretString::from(*value));
        let settings = TracingSettings {
            otel: OtelSettings {
                protocol: protocol.to_owned(),
                endpoint: endpoint.to_owned(),
                headers: headers.iter().map(pair).collect(),
                ..OtelSettings::default()
            },
            ..TracingSettings::default()
        };
        exporters(&settings, "a", &Resource::builder_empty().build(), hosted)
    }

    #[tokio::test]
    async fn what_cannot_be_reached_is_refused_at_once() {
        for (protocol, endpoint) in [
            ("grpc", "collector:4317"),
            ("http", "collector:4318"),
            ("grpc", "[::1]:4317"),
        ] {
            assert_eq!(with(protocol, endpoint, &[("x-key", "k")]).expect("sound").len(), 1);
        }
        assert!(with("", "collector:4317", &[]).expect("as in Dapr").is_empty());
        assert!(matches!(
            with("thrift", "collector:4317", &[]),
            Err(TracingError::Protocol(_))
        ));
        for address in [
            "a b",
            "good.test:1?@evil.test",
            "good.test#",
            "x@evil.test:1",
            "good.test\\a",
        ] {
            for protocol in ["grpc", "http"] {
                assert!(
                    matches!(with(protocol, address, &[]), Err(TracingError::Address(_))),
                    "{address}"
                );
            }
        }
        for (name, value) in [("a b", "c"), ("x", "a\nb"), ("x-bin", "AA"), ("content-type", "x")] {
            let refused = with("grpc", "collector:4317", &[(name, value)]);
            let Err(TracingError::Header(named)) = refused else {
                panic!("{name} is no header for us");
            };
            assert_eq!(named, name);
        }
    }

    #[tokio::test]
    async fn sec_119_spans_of_tenants_go_to_no_address_about_machines() {
        for protocol in ["grpc", "http"] {
            let refused = asked(protocol, "http://169.254.169.254:4317", &[], true);
            assert!(matches!(refused, Err(TracingError::Refused(_))), "{protocol}");
            assert!(with(protocol, "http://169.254.169.254:4317", &[]).is_ok(), "{protocol}");
        }
        let settings = TracingSettings {
            zipkin: "http://169.254.169.254/api/v2/spans".to_owned(),
            ..TracingSettings::default()
        };
        let refused = exporters(&settings, "a", &Resource::builder_empty().build(), true);
        assert!(matches!(refused, Err(TracingError::Refused(_))));
    }
}
