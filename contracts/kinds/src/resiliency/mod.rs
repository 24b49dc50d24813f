//! Resiliency: timeouts, retries and circuit breakers, and what they are for, in Dapr's own shape.
//!
//! One idea: policies have names, targets name them; a name may also be one of Dapr's own or of another object, so that a
//! target's names are not looked up here. Must never hold a secret.

mod access;
mod rules;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::action::CrudActions;
use crate::definition::{self, Group, KindDefinition, Scope, Sensitive};
use crate::names::NameRule;
use crate::values::Text;

pub use access::{CREATE, DELETE, GET, LIST, UPDATE};

/// The definition.
pub static KIND: KindDefinition = KindDefinition {
    kind: "Resiliency",
    api_versions: &["dapr.io/v1alpha1", "dapr.diagrid.io/v1beta1", "cra.diagrid.io/v1beta1"],
    plural: "resiliencies",
    short_names: &["resiliency"],
    groups: &[Group::Cra, Group::Dapr],
    scope: Scope::Project,
    names: NameRule::Component,
    crud: CrudActions {
        list: &LIST,
        get: &GET,
        read_sensitive: None,
        create: Some(&CREATE),
        update: Some(&UPDATE),
        delete: Some(&DELETE),
    },
    actions: &[],
    sensitive: Sensitive::Nothing,
    pointing: &[],
    regional: true,
    normalize: definition::normalize::<ResiliencyContent>,
    check_update: definition::check_update::<ResiliencyContent>,
    schemas: definition::schemas::<ResiliencyContent>,
    example: include_str!("example.yaml"),
};

/// Everything beside the envelope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResiliencyContent {
    /// What is wanted.
    #[serde(default)]
    pub spec: ResiliencySpec,
    /// App IDs that it is for; empty = every App ID of the project.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// What is wanted of a resiliency policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResiliencySpec {
    /// The policies by name.
    #[serde(default)]
    pub policies: ResiliencyPolicies,
    /// What they are for.
    #[serde(default)]
    pub targets: ResiliencyTargets,
}

/// The policies by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResiliencyPolicies {
    /// Durations such as `5s`; bare digits are milliseconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub timeouts: BTreeMap<String, Text>,
    /// Retries.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub retries: BTreeMap<String, RetryPolicy>,
    /// Circuit breakers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub circuit_breakers: BTreeMap<String, CircuitBreakerPolicy>,
}

/// How often and when a call is made again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryPolicy {
    /// `constant` (default) or `exponential`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// Between two calls, for `constant`.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schema(value_type = String)]
    pub duration: Text,
    /// Longest time between two calls, for `exponential`.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schema(value_type = String)]
    pub max_interval: Text,
    /// -1 = without end (default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<i32>,
    /// Only for these answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<RetryMatching>,
}

/// Which answers are worth another call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryMatching {
    /// Codes and ranges: `429,500-599`.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schema(value_type = String)]
    pub http_status_codes: Text,
    /// Codes and ranges: `1,14`.
    #[serde(default, rename = "gRPCStatusCodes", skip_serializing_if = "Text::is_empty")]
    #[schema(value_type = String)]
    pub grpc_status_codes: Text,
}

/// When calls are given up for a while.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CircuitBreakerPolicy {
    /// Calls that go through while it is half open; 0 = 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_requests: u32,
    /// After which the counters begin again; empty = never.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schema(value_type = String)]
    pub interval: Text,
    /// How long it stays open; empty = 60s.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    #[schema(value_type = String)]
    pub timeout: Text,
    /// CEL expression over the counters; empty = `consecutiveFailures > 5`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trip: String,
}

/// What policies are for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResiliencyTargets {
    /// By App ID or HTTP endpoint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub apps: BTreeMap<String, AppTarget>,
    /// By actor type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub actors: BTreeMap<String, ActorTarget>,
    /// By component.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub components: BTreeMap<String, ComponentTarget>,
}

/// Policies for calls to an App ID.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppTarget {
    /// Name of a timeout.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub timeout: String,
    /// Name of a retry policy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub retry: String,
    /// Name of a circuit breaker.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub circuit_breaker: String,
    /// Circuit breakers that are kept; 0 = Dapr's default.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub circuit_breaker_cache_size: u32,
}

/// Policies for calls to actors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActorTarget {
    /// Name of a timeout.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub timeout: String,
    /// Name of a retry policy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub retry: String,
    /// Name of a circuit breaker.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub circuit_breaker: String,
    /// `type`, `id` or `both`; needed with a circuit breaker.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub circuit_breaker_scope: String,
    /// Circuit breakers that are kept; 0 = Dapr's default.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub circuit_breaker_cache_size: u32,
}

/// Policies for a component, by direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentTarget {
    /// From the component to the application.
    #[serde(default)]
    pub inbound: PolicyNames,
    /// To the component.
    #[serde(default)]
    pub outbound: PolicyNames,
}

/// Names of policies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyNames {
    /// Name of a timeout.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub timeout: String,
    /// Name of a retry policy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub retry: String,
    /// Name of a circuit breaker.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub circuit_breaker: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
