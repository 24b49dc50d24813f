//! The JSON of one object as it travels in the log: the object without status, and the values sealed to the region.
//!
//! Must never hold a status or a secret in clear.

use std::collections::BTreeMap;

use palladium_sealing::SealedValue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One object of the desired state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// As in declarative files.
    pub api_version: String,
    /// `Project`, `AppIdentity`, `Component`, `Subscription`, `Configuration`, `Resiliency`, `HTTPEndpoint`.
    pub kind: String,
    /// Who it is. Must say the same as the signed header.
    pub metadata: PayloadMetadata,
    /// Values sealed to the region, until it has confirmed them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed: Vec<SealedValue>,
    /// Everything else: `spec`, and what stands beside it, such as `auth` and `scopes`. Where a secret was stands a `secretKeyRef`.
    #[serde(flatten)]
    pub content: Map<String, Value>,
}

/// Metadata that reaches the region.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PayloadMetadata {
    /// Unique within (kind, project).
    pub name: String,
    /// Never reused.
    pub uid: String,
    /// Grows with every change of what is wanted.
    pub generation: u64,
    /// `prj-…`; for a project its own id.
    #[serde(default)]
    pub project_id: String,
    /// The project's name, for messages and for access control that names projects.
    #[serde(default)]
    pub project_name: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
