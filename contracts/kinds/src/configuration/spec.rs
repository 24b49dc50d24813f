//! What a Configuration can say, with Dapr's field names.
//!
//! One idea: shapes only; what they may hold is said in the rules. Must never have a field that nobody judges.

mod telemetry;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

pub use telemetry::*;

/// What is wanted of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigurationSpec {
    /// Who may invoke the App ID, and what; absent = everybody of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_control: Option<AccessControl>,
    /// Middleware for calls to the Dapr API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_pipeline: Option<Pipeline>,
    /// Middleware for calls to the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_http_pipeline: Option<Pipeline>,
    /// Tracing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// Metrics; Dapr's older name for `metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metrics>,
    /// Metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Which secrets the Secrets API gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsRules>,
    /// Which parts of the Dapr API there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiRules>,
    /// Switches for features.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Feature>,
    /// Component types that are not loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<DeniedComponents>,
    /// What is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// For WebAssembly components.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasm: Option<Wasm>,
    /// Limits of workflows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowLimits>,
    /// The platform's: refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub mtls: Option<Value>,
    /// The platform's: refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub name_resolution: Option<Value>,
}

/// Who may invoke an App ID, and what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessControl {
    /// `allow` or `deny`, for callers without a policy; empty = `allow` without policies, `deny` with some.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub default_action: String,
    /// Empty or `public`: the region's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trust_domain: String,
    /// One per caller.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<AccessPolicy>,
}

/// What one caller may.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessPolicy {
    /// App ID of the caller.
    pub app_id: String,
    /// `allow` or `deny`, for what no operation names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub default_action: String,
    /// Empty or `public`: the region's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trust_domain: String,
    /// Empty, `default`, or the project's name or id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Paths and methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<AccessOperation>,
}

/// A path of the application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessOperation {
    /// The path; `*` stands for one part of it, at its end for all that follows.
    pub name: String,
    /// HTTP methods, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http_verb: Vec<String>,
    /// `allow` or `deny`.
    pub action: String,
}

/// A chain of middleware.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pipeline {
    /// In the order in which they are called.
    #[serde(default)]
    pub handlers: Vec<Handler>,
}

/// One middleware.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Handler {
    /// Name of the component.
    pub name: String,
    /// Its type: `middleware.http.ratelimit`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Only for some services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
}

/// Which services a middleware is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// Fields and their values.
    #[serde(default)]
    pub fields: Vec<SelectorField>,
}

/// A field and its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelectorField {
    /// The field.
    pub field: String,
    /// Its value.
    pub value: String,
}

/// Which secrets the Secrets API gives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretsRules {
    /// One per secret store.
    #[serde(default)]
    pub scopes: Vec<SecretsScope>,
}

/// Which secrets of one store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretsScope {
    /// Name of the secret store.
    pub store_name: String,
    /// `allow` (default) or `deny`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub default_access: String,
    /// If there are some, only these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_secrets: Vec<String>,
    /// Not these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied_secrets: Vec<String>,
}

/// Which parts of the Dapr API there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiRules {
    /// If there are some, only these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<ApiRule>,
    /// Not these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<ApiRule>,
}

/// A part of the Dapr API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiRule {
    /// Its name: `state`.
    pub name: String,
    /// Its version: `v1`.
    pub version: String,
    /// `http` or `grpc`; empty = both.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub protocol: String,
}

/// A switch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Feature {
    /// Name of the feature.
    pub name: String,
    /// On or off.
    #[serde(default)]
    pub enabled: bool,
}

/// Component types that are not loaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeniedComponents {
    /// `state.redis`, or `state.redis/v1`.
    #[serde(default)]
    pub deny: Vec<String>,
}

/// What is logged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Logging {
    /// Of calls to the Dapr API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_logging: Option<ApiLogging>,
}

/// Logging of calls to the Dapr API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiLogging {
    /// Off by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Routes in place of paths.
    #[serde(default, rename = "obfuscateURLs", skip_serializing_if = "Option::is_none")]
    pub obfuscate_urls: Option<bool>,
    /// Without health checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omit_health_checks: Option<bool>,
}

/// For WebAssembly components.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wasm {
    /// Without clocks and random numbers.
    #[serde(default)]
    pub strict_sandbox: bool,
}

/// Limits of workflows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkflowLimits {
    /// Workflows at one time in one Dapr Server; 0 = without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_workflow_invocations: Option<u32>,
    /// Activities at one time in one Dapr Server; 0 = without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_activity_invocations: Option<u32>,
    /// Workflows at one time everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_max_concurrent_workflow_invocations: Option<u32>,
    /// Activities at one time everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_max_concurrent_activity_invocations: Option<u32>,
    /// By name of the workflow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workflow_concurrency_limits: Vec<NamedLimit>,
    /// By name of the activity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub activity_concurrency_limits: Vec<NamedLimit>,
    /// How long finished workflows are kept; absent = for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_retention_policy: Option<Retention>,
}

/// A limit for one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedLimit {
    /// The name.
    pub name: String,
    /// At one time everywhere.
    pub max_concurrent: u32,
}

/// How long finished workflows are kept, durations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retention {
    /// However they ended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub any_terminal: String,
    /// Completed ones.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub completed: String,
    /// Failed ones.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failed: String,
    /// Terminated ones.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub terminated: String,
}
