//! Subscription: which topic is delivered to which paths of which applications, in Dapr's own shape (`v2alpha1`).
//!
//! One idea: the file that daprd reads is accepted as it is, with `scopes` beside `spec`. Must never hold a secret.

mod access;
mod rules;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::action::CrudActions;
use crate::definition::{self, Group, KindDefinition, Scope, Sensitive};
use crate::names::NameRule;

pub use access::{CREATE, DELETE, GET, LIST, UPDATE};

/// The definition.
pub static KIND: KindDefinition = KindDefinition {
    kind: "Subscription",
    api_versions: &["dapr.io/v2alpha1", "dapr.diagrid.io/v1beta1", "cra.diagrid.io/v1beta1"],
    plural: "subscriptions",
    short_names: &["subscription"],
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
    normalize: definition::normalize::<SubscriptionContent>,
    check_update: definition::check_update::<SubscriptionContent>,
    schemas: definition::schemas::<SubscriptionContent>,
    example: include_str!("example.yaml"),
};

/// Everything beside the envelope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscriptionContent {
    /// What is wanted.
    pub spec: SubscriptionSpec,
    /// App IDs that it is for; empty = every App ID of the project.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// What is wanted of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscriptionSpec {
    /// Name of the pub/sub component.
    pub pubsubname: String,
    /// Topic.
    pub topic: String,
    /// Settings for the component.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Where events go.
    pub routes: SubscriptionRoutes,
    /// Topic for events that could not be delivered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dead_letter_topic: String,
    /// Delivery of several events at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bulk_subscribe: Option<BulkSubscribe>,
    /// Catalyst's field; only `false` is accepted: applications make their own streaming subscriptions without an object.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dynamic: bool,
}

/// Where events go: the first rule that matches, else the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscriptionRoutes {
    /// Rules, the most specific first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<SubscriptionRule>,
    /// Path for events that no rule matches.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub default: String,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscriptionRule {
    /// CEL expression over `event`; empty = every event.
    #[serde(default, rename = "match")]
    pub condition: String,
    /// Path of the application.
    pub path: String,
}

/// Delivery of several events at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BulkSubscribe {
    /// Whether.
    #[serde(default)]
    pub enabled: bool,
    /// At most so many events; 0 = the component's default.
    #[serde(default)]
    pub max_messages_count: i32,
    /// Waiting at most so long for them, milliseconds; 0 = the component's default.
    #[serde(default)]
    pub max_await_duration_ms: i32,
}
