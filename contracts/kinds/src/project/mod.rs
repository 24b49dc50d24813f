//! Project: the unit of isolation. Everything that an application owns lives in one; nothing crosses between two.
//!
//! Must never hold what lives in a project.

mod access;
mod rules;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::action::CrudActions;
use crate::definition::{self, Group, KindDefinition, Scope, Sensitive};
use crate::names::NameRule;

pub use access::{CREATE, DELETE, GET, LIST, UPDATE};

/// Name of the component that `managedKvEnabled` gives a project.
pub const MANAGED_KV_NAME: &str = "kvstore";
/// Type of that component.
pub const MANAGED_KV_TYPE: &str = "state.diagrid";
/// Type of a component for managed publish/subscribe.
pub const MANAGED_BUS_TYPE: &str = "pubsub.diagrid";

/// The definition.
pub static KIND: KindDefinition = KindDefinition {
    kind: "Project",
    api_versions: &["cra.diagrid.io/v1beta1"],
    plural: "projects",
    short_names: &["project"],
    groups: &[Group::Cra, Group::Dapr],
    scope: Scope::Organization,
    names: NameRule::Label { max: 63 },
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
    normalize: definition::normalize::<ProjectContent>,
    check_update: definition::check_update::<ProjectContent>,
    schemas: definition::schemas::<ProjectContent>,
    example: include_str!("example.yaml"),
};

/// Everything beside the envelope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectContent {
    /// What is wanted.
    #[serde(default)]
    pub spec: ProjectSpec,
}

/// What is wanted of a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectSpec {
    /// For people; defaults to the name.
    #[serde(default)]
    pub display_name: String,
    /// Name or id of the region; empty = the organization's default. Cannot change.
    #[serde(default)]
    pub region: String,
    /// What empty component scopes mean.
    #[serde(default)]
    pub component_scopes_default: ScopesDefault,
    /// Largest body accepted for an App ID of this project, as a quantity such as `4Mi`; empty = the gateway's default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub max_body_size: String,
    /// Refuses tunnels to applications.
    #[serde(default)]
    pub disable_app_tunnels: bool,
    /// The managed key-value store is wanted: component `kvstore` comes and goes with this, its data included. Left out on create:
    /// not wanted; left out of a change: as it was, because a file that does not speak of it must not destroy data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_kv_enabled: Option<bool>,
}

/// What a component without scopes means in this project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScopesDefault {
    /// Every App ID of the project may use it, as in Dapr.
    #[default]
    Allow,
    /// Nobody may.
    Deny,
}

/// What a project's status holds beside the common part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProjectStatus {
    /// Where applications reach their Dapr Servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
}

/// The project's two addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Endpoints {
    /// `DAPR_HTTP_ENDPOINT`
    pub http: Endpoint,
    /// `DAPR_GRPC_ENDPOINT`
    pub grpc: Endpoint,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// With scheme and port.
    pub url: String,
    /// The port again, for clients that want it apart.
    pub port: u16,
}
