//! The parts of a Configuration that say what is counted, traced and logged.
//!
//! One idea: each part is one plain value, laid over field by field like the rest, and in force as soon as it is handed to
//! those who act on it. What goes along with exported traces may be a key, so it is secret here. Must never read the
//! environment on its own: who starts this process gives it.

use std::collections::BTreeMap;
use std::time::Duration;

use palladium_component::metadata::parse_duration;
use regex::{Regex, RegexBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::text;

/// What `spec.metrics` says.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsSettings {
    /// In the drop-in form: `Some(false)` = no metrics, whatever the flags say; otherwise the flags decide. In platform mode
    /// the region's owner decides.
    pub enabled: Option<bool>,
    /// Whether failed calls are counted by their tag.
    pub record_error_codes: bool,
    /// Whether HTTP calls are told apart by path, as Dapr does unless it is told otherwise.
    pub increased_cardinality: bool,
    /// Paths that HTTP calls are counted under.
    pub path_matching: Vec<String>,
    /// Whether HTTP calls are not told apart by method.
    pub exclude_verbs: bool,
    /// Bounds of latency buckets in milliseconds, rising; empty = Dapr's.
    pub latency_buckets: Vec<f64>,
    /// Rewrites of label values.
    pub rules: Vec<MetricsRule>,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            enabled: None,
            record_error_codes: false,
            increased_cardinality: true,
            path_matching: Vec::new(),
            exclude_verbs: false,
            latency_buckets: Vec::new(),
            rules: Vec::new(),
        }
    }
}

/// Rewrites the values of one metric's labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MetricsRule {
    /// The metric.
    pub name: String,
    /// Its labels.
    pub labels: Vec<MetricsLabel>,
}

/// Rewrites the values of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MetricsLabel {
    /// The label.
    pub name: String,
    /// What is put in place of what an expression matches, by the former.
    pub regex: BTreeMap<String, String>,
}

/// Labels that say whose metrics these are (in the families of access control `namespace` is the caller's; a rule for it is
/// left out all the same).
const IDENTITY: [&str; 2] = ["app_id", "namespace"];
/// More buckets than anybody reads cost memory in every series.
const MOST_BUCKETS: usize = 200;
/// Each is kept compiled, and asked for every new value of its label.
const MOST_EXPRESSIONS: usize = 128;
/// Of a compiled one.
const MOST_EXPRESSION_BYTES: usize = 512 << 10;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct MetricSpec {
    enabled: Option<bool>,
    record_error_codes: Option<bool>,
    http: Option<MetricHttp>,
    latency_distribution_buckets: Option<Vec<f64>>,
    rules: Option<Vec<MetricsRule>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MetricHttp {
    increased_cardinality: Option<bool>,
    path_matching: Option<Vec<String>>,
    exclude_verbs: Option<bool>,
}

impl MetricsSettings {
    pub(super) fn overlay(&mut self, spec: MetricSpec) -> Result<(), String> {
        self.enabled = spec.enabled.or(self.enabled);
        self.record_error_codes = spec.record_error_codes.unwrap_or(self.record_error_codes);
        if let Some(http) = spec.http {
            self.increased_cardinality = http.increased_cardinality.unwrap_or(self.increased_cardinality);
            self.exclude_verbs = http.exclude_verbs.unwrap_or(self.exclude_verbs);
            if let Some(paths) = http.path_matching {
                self.path_matching = paths;
            }
        }
        if let Some(mut buckets) = spec.latency_distribution_buckets {
            buckets.retain(|bound| bound.is_finite() && *bound > 0.0);
            buckets.sort_by(f64::total_cmp);
            buckets.dedup();
            buckets.truncate(MOST_BUCKETS);
            self.latency_buckets = buckets;
        }
        if let Some(rules) = spec.rules {
            check(&rules).map_err(|reason| format!("Configuration: spec.metrics.rules: {reason}"))?;
            self.rules = without_identity(rules);
        }
        Ok(())
    }
}

/// Whether all rules can be put in force.
fn check(rules: &[MetricsRule]) -> Result<(), String> {
    let mut count = 0;
    for rule in rules {
        for label in &rule.labels {
            count += label.regex.len();
            if count > MOST_EXPRESSIONS {
                return Err(format!("there are more than {MOST_EXPRESSIONS} expressions"));
            }
            for text in label.regex.values() {
                expression(text).map_err(|error| {
                    let (rule, label) = (&rule.name, &label.name);
                    format!("failed to compile regex for rule {rule}/{label}: {error}")
                })?;
            }
        }
    }
    Ok(())
}

/// The rules but for what they say of labels that no rule may change: metrics would be told as another's. The control plane
/// refuses them; files of Dapr's may hold them, and all else in such a file is to be in force.
fn without_identity(mut rules: Vec<MetricsRule>) -> Vec<MetricsRule> {
    let mut left_out = Vec::new();
    for MetricsRule { name, labels } in &mut rules {
        labels.retain(|label| {
            let is_identity = IDENTITY.contains(&label.name.as_str());
            if is_identity {
                left_out.push(format!("{name}/{}", label.name));
            }
            !is_identity
        });
    }
    if !left_out.is_empty() {
        let reason = "app_id and namespace say whose metrics these are; rules for them are left out, name other labels";
        tracing::warn!(rules = ?left_out, "spec.metrics.rules: {reason}");
    }
    rules
}

/// An expression of a rule.
///
/// # Errors
/// When it is none, or a large one.
pub(crate) fn expression(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(MOST_EXPRESSION_BYTES).build()
}

/// What `spec.tracing` says. Empty = calls are not traced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TracingSettings {
    /// Which part of the traces that begin here is exported, as text; empty = not said.
    pub sampling_rate: String,
    /// Whether spans are written to the log.
    pub stdout: bool,
    /// URL of a Zipkin collector; empty = none.
    pub zipkin: String,
    /// A collector that speaks OTLP.
    pub otel: OtelSettings,
    /// Attributes of this process beside its name, and perhaps another name.
    pub resource: Vec<(String, String)>,
}

/// How to export by OTLP.
#[derive(Clone, Debug, Default)]
pub struct OtelSettings {
    /// `grpc` or `http`.
    pub protocol: String,
    /// `host:port`; empty = none.
    pub endpoint: String,
    /// Whether by TLS; `None` = yes.
    pub secure: Option<bool>,
    /// What goes along with every export. Keys of collectors are among it.
    pub headers: Vec<(String, SecretString)>,
    /// How long one export may take.
    pub timeout: Option<Duration>,
}

impl PartialEq for OtelSettings {
    fn eq(&self, other: &Self) -> bool {
        fn plain(settings: &OtelSettings) -> (&str, &str, Option<bool>, Option<Duration>) {
            let OtelSettings {
                protocol,
                endpoint,
                secure,
                timeout,
                ..
            } = settings;
            (protocol, endpoint, *secure, *timeout)
        }
        fn headers(settings: &OtelSettings) -> impl Iterator<Item = (&str, &str)> {
            settings
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.expose_secret()))
        }
        plain(self) == plain(other) && headers(self).eq(headers(other))
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TracingSpec {
    #[serde(deserialize_with = "said")]
    sampling_rate: Option<String>,
    stdout: Option<bool>,
    zipkin: Option<ZipkinSpec>,
    otel: Option<OtelSpec>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ZipkinSpec {
    endpoint_address: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OtelSpec {
    protocol: Option<String>,
    endpoint_address: Option<String>,
    is_secure: Option<bool>,
    headers: Option<Vec<HeaderSpec>>,
    timeout: Option<Value>,
}

/// `name=value`, or as a resource of Kubernetes has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderSpec {
    Text(SecretString),
    Pair {
        name: String,
        #[serde(default)]
        value: Option<SecretString>,
    },
}

/// Text where YAML may have seen a number.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    text(deserializer).map(|text| (!text.is_empty()).then_some(text))
}

impl HeaderSpec {
    fn read(self) -> Result<(String, SecretString), String> {
        match self {
            Self::Text(text) => {
                let (name, value) = text
                    .expose_secret()
                    .split_once('=')
                    .ok_or("Configuration: spec.tracing.otel.headers: a header is written as name=value")?;
                Ok((name.trim().to_owned(), SecretString::from(value.to_owned())))
            }
            Self::Pair { name, value } => {
                let value = value.ok_or_else(|| {
                    format!("Configuration: spec.tracing.otel.headers: {name} has no value here; give it in place")
                })?;
                Ok((name, value))
            }
        }
    }
}

impl TracingSettings {
    pub(super) fn overlay(&mut self, spec: TracingSpec) -> Result<(), String> {
        if let Some(rate) = spec.sampling_rate {
            self.sampling_rate = rate;
        }
        self.stdout = spec.stdout.unwrap_or(self.stdout);
        if let Some(zipkin) = spec.zipkin {
            self.zipkin = zipkin.endpoint_address;
        }
        let Some(otel) = spec.otel else { return Ok(()) };
        let own = &mut self.otel;
        own.protocol = otel.protocol.unwrap_or(std::mem::take(&mut own.protocol));
        own.endpoint = otel.endpoint_address.unwrap_or(std::mem::take(&mut own.endpoint));
        own.secure = otel.is_secure.or(own.secure);
        if let Some(headers) = otel.headers {
            own.headers = headers.into_iter().map(HeaderSpec::read).collect::<Result<_, _>>()?;
        }
        if let Some(timeout) = otel.timeout {
            let text = timeout.as_str().map_or_else(|| timeout.to_string(), str::to_owned);
            // A bare number counts in nanoseconds, as in Dapr.
            let timeout = parse_duration(&text, Duration::from_nanos(1));
            own.timeout = Some(timeout.map_err(|error| format!("Configuration: spec.tracing.otel.timeout: {error}"))?);
        }
        Ok(())
    }

    /// Fills in what the standard variables of OpenTelemetry say where nothing else does.
    ///
    /// # Errors
    /// The message names the variable.
    pub fn with_environment(&mut self, env: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
        let first = |names: [&str; 2]| {
            names
                .into_iter()
                .find_map(|name| env(name).filter(|text| !text.is_empty()))
        };
        self.resource = resource(env);
        // As in Dapr: what a file says stands, the collector and what goes along with exports each by itself.
        let endpoint = first(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
        if let Some(endpoint) = endpoint.filter(|_| self.otel.endpoint.is_empty()) {
            let endpoint = endpoint.strip_prefix("http://").unwrap_or(&endpoint);
            self.otel.endpoint = endpoint.strip_prefix("https://").unwrap_or(endpoint).to_owned();
            if self.sampling_rate.is_empty() {
                self.sampling_rate = "1".to_owned();
            }
            let protocol = first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]);
            let http = protocol.is_some_and(|protocol| protocol.starts_with("http"));
            self.otel.protocol = if http { "http" } else { "grpc" }.to_owned();
            if env("OTEL_EXPORTER_OTLP_INSECURE").as_deref() == Some("true") {
                self.otel.secure = Some(false);
            }
        }
        let headers = first(["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"]);
        if let Some(headers) = headers.filter(|_| self.otel.headers.is_empty()) {
            let pairs = pairs("OTEL_EXPORTER_OTLP_HEADERS", &headers)?.into_iter();
            self.otel.headers = pairs.map(|(name, value)| (name, SecretString::from(value))).collect();
        }
        let timeout = first(["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]);
        if let Some(timeout) = timeout.filter(|_| self.otel.timeout.is_none()) {
            let millis = timeout.trim().parse();
            let millis = millis.map_err(|_| "OTEL_EXPORTER_OTLP_TIMEOUT: a number of milliseconds is expected")?;
            self.otel.timeout = Some(Duration::from_millis(millis)).filter(|timeout| !timeout.is_zero());
        }
        Ok(())
    }
}

/// `a=1,b=2`, percent-encoded.
fn pairs(variable: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8().ok()?;
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
    };
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    let read: Option<Vec<_>> = parts.map(pair).collect();
    read.ok_or_else(|| format!("{variable}: pairs such as name=value are expected, with commas between them"))
}

/// What the environment says of this process. As elsewhere with OpenTelemetry, nonsense is nothing said.
fn resource(env: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    let said = env("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let mut resource = pairs("OTEL_RESOURCE_ATTRIBUTES", &said).unwrap_or_default();
    if let Some(name) = env("OTEL_SERVICE_NAME").filter(|name| !name.is_empty()) {
        resource.retain(|(key, _)| key != "service.name");
        resource.push(("service.name".to_owned(), name));
    }
    resource
}

/// What `spec.logging.apiLogging` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ApiLogging {
    /// Whether each API call is logged; the flag wins.
    pub enabled: bool,
    /// Whether lines name the API only, not the path.
    #[serde(rename = "obfuscateURLs")]
    pub obfuscate_urls: bool,
    /// Whether there are no lines for health checks.
    pub omit_health_checks: bool,
}

#[cfg(test)]
mod tests;
