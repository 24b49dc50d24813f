//! API keys as the API shows them. Keys are not a kind: they have a table and handlers of their own.
//!
//! Must never: hold the key itself anywhere but in the one answer to its creation.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::role::Role;
use crate::timestamp::Timestamp;

/// Body of `POST …/apikeys`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKeyRequest {
    /// Unique in the organization; for people.
    pub name: String,
    /// Role identifier, such as `cra.diagrid:viewer`.
    pub role: String,
    /// `project:<name or id>`; absent = the whole organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Seconds until it expires; absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u64>,
}

/// A key, without the key itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// `key-` and 12 characters.
    pub id: String,
    /// For people.
    pub name: String,
    /// Its one role.
    pub role: Role,
    /// `global` or `project:<project id>`.
    pub scope: String,
    /// Creation.
    pub created_at: Timestamp,
    /// Id of the actor that made it.
    pub created_by: String,
    /// Absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Answer to the creation: the only time the key is shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyCreated {
    /// What was made.
    #[serde(flatten)]
    pub key: ApiKey,
    /// The key: send it as `x-diagrid-api-key`. Shown once, kept nowhere.
    pub token: String,
}

/// Answer to `GET …/whoami`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// `apikey`
    pub actor_type: String,
    /// Id of the actor.
    pub id: String,
    /// Name of the actor.
    pub name: String,
    /// The organization.
    pub organization: OrganizationRef,
    /// Roles and where they hold.
    pub roles: Vec<RoleAssignment>,
    /// When the credential expires; absent = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// The organization, as clients need it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OrganizationRef {
    /// `org-…`
    pub id: String,
    /// For people.
    pub name: String,
    /// Always `enterprise`: nothing is held back.
    pub plan: String,
}

/// One role and where it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoleAssignment {
    /// The role.
    pub role: Role,
    /// `global` or `project:<project id>`.
    pub scope: String,
}

/// A join token for a region: shown once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JoinTokenCreated {
    /// Name of the region.
    pub region: String,
    /// Give it to the region's agent. Single use.
    pub join_token: String,
    /// Refused from then on.
    pub expires_at: Timestamp,
}
