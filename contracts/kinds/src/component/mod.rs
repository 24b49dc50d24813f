//! Component: a Dapr component in Dapr's own shape, with `auth` and `scopes` beside `spec`.
//!
//! One idea: the file that daprd reads is accepted as it is; which settings are secret is the catalog's word. Must
//! never know a component type.

mod access;
mod rules;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::action::CrudActions;
use crate::definition::{self, Group, KindDefinition, Scope, Sensitive};
use crate::names::NameRule;
use crate::values::{Auth, NameValuePair};

pub use access::{CREATE, DELETE, GET, LIST, READ_SECRETS, UPDATE};

/// Where a component's settings stand.
pub const SETTINGS: &str = "spec.metadata";

/// The definition.
pub static KIND: KindDefinition = KindDefinition {
    kind: "Component",
    api_versions: &["dapr.io/v1alpha1", "dapr.diagrid.io/v1beta1", "cra.diagrid.io/v1beta1"],
    plural: "components",
    short_names: &["component"],
    groups: &[Group::Cra, Group::Dapr],
    scope: Scope::Project,
    names: NameRule::Component,
    crud: CrudActions {
        list: &LIST,
        get: &GET,
        read_sensitive: Some(&READ_SECRETS),
        create: Some(&CREATE),
        update: Some(&UPDATE),
        delete: Some(&DELETE),
    },
    actions: &[],
    sensitive: Sensitive::ComponentMetadata,
    // Any plain metadata value may decide where the secrets go (hosts, ports, TLS switches), so all of them count.
    pointing: &["spec.metadata"],
    regional: true,
    normalize: definition::normalize::<ComponentContent>,
    check_update: definition::check_update::<ComponentContent>,
    schemas: definition::schemas::<ComponentContent>,
    example: include_str!("example.yaml"),
};

/// Everything beside the envelope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentContent {
    /// What is wanted.
    pub spec: ComponentSpec,
    /// Where `secretKeyRef`s are looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// App IDs that may use it; empty = what the project's `componentScopesDefault` says.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// What is wanted of a component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentSpec {
    /// `state.redis`; cannot change.
    #[serde(rename = "type")]
    pub kind: String,
    /// `v1` by default.
    #[serde(default)]
    pub version: String,
    /// A failure to load does not stop the Dapr Server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_errors: bool,
    /// How long loading may take, a Go duration; empty = Dapr's default (5s).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub init_timeout: String,
    /// The component's settings.
    #[serde(default)]
    pub metadata: Vec<NameValuePair>,
}

/// What a component's status holds beside the common part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Per App ID: whether its Dapr Server could load the component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub app_id_status: Vec<AppIdLoad>,
}

/// How loading went for one App ID.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppIdLoad {
    /// The App ID.
    pub app_id: String,
    /// A word as in `status.status`.
    pub status: String,
    /// Why not ready.
    #[serde(default)]
    pub messages: Vec<crate::status::Message>,
}
