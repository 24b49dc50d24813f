//! Tracing and metrics in a Configuration.
//!
//! One idea: shapes only; what they may hold is said in the rules. Must never show a header's value in `Debug`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::values::{NameValuePair, Text};

/// Tracing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tracing {
    /// From 0 (nothing) to 1 (everything).
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schema(value_type = String)]
    pub sampling_rate: Text,
    /// Traces in the log too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<bool>,
    /// Export to Zipkin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<Zipkin>,
    /// Export by OTLP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otel: Option<Otel>,
}

/// Export to Zipkin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Zipkin {
    /// `http://zipkin:9411/api/v2/spans`
    #[serde(default)]
    pub endpoint_address: String,
}

/// Export by OTLP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Otel {
    /// `grpc` or `http`.
    #[serde(default)]
    pub protocol: String,
    /// `collector:4317`
    #[serde(default)]
    pub endpoint_address: String,
    /// With TLS; absent = yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_secure: Option<bool>,
    /// Sent with every export. Secret: masked on reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<NameValuePair>,
    /// Deadline of one export, a duration.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schema(value_type = String)]
    pub timeout: Text,
}

/// Metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metrics {
    /// Absent = on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Failed calls are counted by their code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_error_codes: Option<bool>,
    /// For HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpMetrics>,
    /// Labels that are written another way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<MetricsRule>,
    /// Bounds of the latency histograms, milliseconds, growing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_distribution_buckets: Option<Vec<u32>>,
}

/// Metrics of HTTP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpMetrics {
    /// One series per path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub increased_cardinality: Option<bool>,
    /// Paths that are told apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_matching: Vec<String>,
    /// Without the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_verbs: Option<bool>,
}

/// Labels of one metric that are written another way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsRule {
    /// Name of the metric.
    pub name: String,
    /// Its labels.
    #[serde(default)]
    pub labels: Vec<MetricsLabel>,
}

/// A label and what its values become.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsLabel {
    /// The label.
    pub name: String,
    /// New value → regular expression.
    #[serde(default)]
    pub regex: BTreeMap<String, String>,
}
