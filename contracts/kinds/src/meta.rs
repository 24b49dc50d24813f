//! The envelope that all kinds share: `apiVersion`, `kind`, `metadata`, content, `status`.
//!
//! One idea: what a client sends ([`Draft`]) and what it gets ([`Object`]) are different types; server-owned fields in a request
//! are preconditions (`uid`, `resourceVersion`) or ignored, never assignments.
//!
//! Must never: let a client set a server-owned field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::ids::ProjectId;
use crate::timestamp::Timestamp;

/// Metadata of a stored object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Unique within (kind, project).
    pub name: String,
    /// Never reused.
    pub uid: String,
    /// The project that the object belongs to (for a project: its own id); absent for objects of the organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Grows with every change of anything in the installation.
    pub resource_version: u64,
    /// Grows with every change of what is wanted.
    pub generation: u64,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change of what is wanted.
    pub updated_at: Timestamp,
    /// For selecting; reach the Dapr Server.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// For tools; reach the Dapr Server.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Who must let go before the object disappears.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Set while the object is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Timestamp>,
}

/// A stored object as the API shows it. `content` is everything beside the envelope: `spec`, for components `auth` and `scopes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Group and version as in declarative files.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Who it is.
    pub metadata: Metadata,
    /// What is wanted.
    #[serde(flatten)]
    pub content: Map<String, Value>,
    /// What is; see [`crate::status`].
    #[serde(default)]
    pub status: Value,
}

/// Metadata as a client may send it. Server-owned fields are accepted because clients send back what they read.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetadataInput {
    /// Required on create; must equal the path's name otherwise.
    pub name: Option<String>,
    /// Accepted for Dapr's files and ignored: the project is in the path.
    pub namespace: Option<String>,
    /// When present, must be the stored one.
    pub uid: Option<String>,
    /// When present, must be the path's project.
    pub project_id: Option<String>,
    /// When present and not 0, the change applies only to this version (409 otherwise).
    pub resource_version: Option<u64>,
    /// Ignored.
    pub generation: Option<u64>,
    /// Ignored.
    #[schema(value_type = Option<String>)]
    pub created_at: Option<Value>,
    /// Ignored.
    #[schema(value_type = Option<String>)]
    pub updated_at: Option<Value>,
    /// Replaced as a whole.
    pub labels: Option<BTreeMap<String, String>>,
    /// Replaced as a whole.
    pub annotations: Option<BTreeMap<String, String>>,
    /// Ignored.
    #[schema(value_type = Option<Vec<String>>)]
    pub finalizers: Option<Value>,
    /// Ignored.
    #[schema(value_type = Option<String>)]
    pub deletion_timestamp: Option<Value>,
}

/// A decoded, defaulted and validated request body.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Canonical name, if the body had one.
    pub name: Option<String>,
    /// Precondition.
    pub uid: Option<String>,
    /// Precondition on the project, as text.
    pub project_id: Option<String>,
    /// Precondition.
    pub resource_version: Option<u64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// `spec` and the kind's other top-level fields, in canonical form. May hold secrets in clear.
    pub content: Map<String, Value>,
}
