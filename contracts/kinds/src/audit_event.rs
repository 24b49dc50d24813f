//! One line of the audit log as the API shows it.
//!
//! Must never: hold a secret or anything reversible made from one; values of secret fields are keyed hashes.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::timestamp::Timestamp;

/// What happened, by whom, to what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// UUIDv7.
    pub id: String,
    /// Position in the log; grows, no gaps are promised.
    pub sequence: u64,
    /// When.
    pub occurred_at: Timestamp,
    /// Who.
    pub actor: AuditActor,
    /// Name of the action, such as `components.update`.
    pub action: String,
    /// `success`, `refused` or `failed`.
    pub outcome: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// Why, when refused or failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// To what.
    pub resource: AuditResource,
    /// Field by field, for changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    /// SHA-256 of the object before, hexadecimal; empty when there was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub before_hash: String,
    /// SHA-256 of the object after.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub after_hash: String,
    /// From where.
    pub source: AuditSource,
    /// How many events this line stands for (unauthenticated ones are counted and sampled).
    pub count: u64,
}

/// Who.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditActor {
    /// `apikey`, `system` or `unauthenticated`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Id; empty when unauthenticated.
    pub id: String,
    /// Name.
    pub name: String,
    /// For whom it acted, when not for itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub on_behalf_of: String,
}

/// To what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditResource {
    /// Kind, or the plural of what is not a kind.
    pub kind: String,
    /// Name as asked for.
    pub name: String,
    /// Uid, when known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Project, when in one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub project_id: String,
}

/// From where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditSource {
    /// Address of the peer.
    pub ip: String,
    /// As sent, cleaned and cut.
    pub user_agent: String,
    /// The same id as in the answer's `x-request-id`.
    pub request_id: String,
}

/// One field that changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Path.
    pub field: String,
    /// Before; absent when it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// After; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}
