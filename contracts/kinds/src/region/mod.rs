//! Region: a data plane that has joined, or may join, this control plane. Read-only through the API for now, but for
//! its join token.
//!
//! One idea: the spec says where a region stands, the status what its agent and its joining told. Must never hold a key
//! or a token of a region.

mod access;
mod rules;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::action::CrudActions;
use crate::definition::{self, Group, KindDefinition, Scope, Sensitive};
use crate::names::NameRule;

pub use access::{GET, JOIN_TOKEN_CREATE, LIST};

/// The definition.
pub static KIND: KindDefinition = KindDefinition {
    kind: "Region",
    api_versions: &["cra.diagrid.io/v1beta1"],
    plural: "regions",
    short_names: &["region"],
    groups: &[Group::Cra],
    scope: Scope::Organization,
    names: NameRule::Label { max: 63 },
    crud: CrudActions {
        list: &LIST,
        get: &GET,
        read_sensitive: None,
        create: None,
        update: None,
        delete: None,
    },
    actions: &[&JOIN_TOKEN_CREATE],
    sensitive: Sensitive::Nothing,
    pointing: &[],
    regional: false,
    normalize: definition::normalize::<RegionContent>,
    check_update: definition::check_update::<RegionContent>,
    schemas: definition::schemas::<RegionContent>,
    example: include_str!("example.yaml"),
};

/// Everything beside the envelope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegionContent {
    /// What is wanted.
    #[serde(default)]
    pub spec: RegionSpec,
}

/// What is known about a region beforehand. All four fields are always present.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegionSpec {
    /// `private`: run by its owner.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Wildcard URL of the gateway, such as `https://*.region.example.com:443`; empty without wildcard DNS.
    #[serde(default)]
    pub ingress: String,
    /// Label of the installation.
    #[serde(default)]
    pub host: String,
    /// Where it stands, for people.
    #[serde(default)]
    pub location: String,
}

/// What a region's status holds beside the common part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegionStatus {
    /// The immutable id, part of the trust domain.
    pub id: String,
    /// `<region id>.palladium.internal`
    pub trust_domain: String,
    /// A session is open right now.
    pub connected: bool,
    /// It has joined once; the join token is spent.
    pub joined: bool,
    /// Version of the agent in the last session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// What applications dial.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gateway_url: String,
    /// PEM; verifies the region's workload certificates.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trust_anchors: String,
}
