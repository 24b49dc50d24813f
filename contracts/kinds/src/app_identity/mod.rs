//! AppIdentity (App ID): one application's identity, the Dapr Server that serves it and the token that leads to it.
//!
//! One idea: the spec says what is wanted of the region, revisions included; the status is what the region said. Must
//! never hold the token: regions keep it.

mod access;
mod rules;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::action::CrudActions;
use crate::definition::{self, Group, KindDefinition, Scope, Sensitive};
use crate::ids::ProjectId;
use crate::names::NameRule;
use crate::timestamp::Timestamp;

pub use access::{CREATE, DELETE, GET, LIST, READ_TOKEN, TOKENS_LIST, TOKENS_REVOKE, TOKENS_ROTATE, UPDATE};
pub use rules::{quantity_bytes, quantity_problem};

/// The one secret field of an App ID.
pub const ENDPOINT_TOKEN: &str = "spec.appEndpoint.token";

/// The definition.
pub static KIND: KindDefinition = KindDefinition {
    kind: "AppIdentity",
    api_versions: &["cra.diagrid.io/v1beta1"],
    plural: "appids",
    short_names: &["appid", "appidentity"],
    groups: &[Group::Cra],
    scope: Scope::Project,
    names: NameRule::Label { max: 64 },
    crud: CrudActions {
        list: &LIST,
        get: &GET,
        read_sensitive: Some(&READ_TOKEN),
        create: Some(&CREATE),
        update: Some(&UPDATE),
        delete: Some(&DELETE),
    },
    actions: &[&TOKENS_LIST, &TOKENS_ROTATE, &TOKENS_REVOKE],
    sensitive: Sensitive::Fields(&[ENDPOINT_TOKEN]),
    pointing: &["spec.appEndpoint.url", "spec.appEndpoint.tokenHeader"],
    regional: true,
    normalize: definition::normalize::<AppIdentityContent>,
    check_update: definition::check_update::<AppIdentityContent>,
    schemas: definition::schemas::<AppIdentityContent>,
    example: include_str!("example.yaml"),
};

/// Everything beside the envelope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppIdentityContent {
    /// What is wanted.
    #[serde(default)]
    pub spec: AppIdentitySpec,
}

/// What is wanted of an App ID.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppIdentitySpec {
    /// Filled in by the server; when sent, must be the path's project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Name of the Configuration in force; empty = none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub app_config: String,
    /// How the application is spoken to.
    #[serde(default)]
    pub protocol: Protocol,
    /// Raise it to rotate the token: a new one is minted, the old one holds for one more hour. Never falls.
    #[serde(default)]
    pub api_token_revision: u64,
    /// Tokens minted for a lower revision are refused at once. Written by revocation; never above `apiTokenRevision`, never falls.
    #[serde(default)]
    pub api_token_minimum_revision: u64,
    /// Where calls to the application go; absent = outbound only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_endpoint: Option<AppEndpointSpec>,
    /// Probing of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Largest body, as a quantity such as `8Mi`; empty = the project's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub max_body_size: String,
}

/// How the application is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1
    #[default]
    Http,
    /// gRPC
    Grpc,
}

/// Where the application listens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppEndpointSpec {
    /// `http://127.0.0.1:8080`; empty = outbound only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Application token, sent with every call to the application. Secret: masked on reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<EndpointToken>,
    /// Header that carries it; default `dapr-api-token`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token_header: String,
    /// Deadline of a call to the application, seconds; 0 = the default.
    #[serde(default)]
    pub client_timeout_seconds: u32,
}

/// The application token: text on the way in, a reference once extracted.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum EndpointToken {
    /// In clear, or the mask.
    Text(String),
    /// Where extraction put it.
    Reference {
        /// Into the managed store.
        #[serde(rename = "secretKeyRef")]
        secret_key_ref: crate::secret_ref::SecretKeyRef,
    },
}

impl std::fmt::Debug for EndpointToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EndpointToken::Text(_) => f.write_str("EndpointToken(hidden)"),
            EndpointToken::Reference { secret_key_ref } => {
                f.debug_tuple("EndpointToken").field(secret_key_ref).finish()
            }
        }
    }
}

/// Probing of the application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    /// Path of an HTTP probe; default `/healthz`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// How often and how patient.
    #[serde(default)]
    pub probe: Probe,
}

/// How often and how patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// Off by default.
    #[serde(default)]
    pub enabled: bool,
    /// Failures in a row before the application counts as down; 0 = the default (3).
    #[serde(default)]
    pub failure_threshold: u32,
    /// Seconds between probes; 0 = the default (5).
    #[serde(default)]
    pub interval_in_sec: u32,
    /// Deadline of one probe, milliseconds; 0 = the default (500).
    #[serde(default)]
    pub timeout_in_ms: u32,
}

/// What an App ID's status holds beside the common part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppIdentityStatus {
    /// The token, for permitted readers of a single App ID only; read from the region on the spot, never stored here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_token: Option<String>,
    /// The workload's SPIFFE ID.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub spiffe_id: String,
    /// The same as a list, as Catalyst shows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spiffe_ids: Vec<String>,
    /// Tokens that exist in the region, without their secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenStatus>,
}

/// One App ID token as the region reports it. Never holds the secret or its digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// The public part: the 8 characters after `pldt_`.
    pub id: String,
    /// The `apiTokenRevision` that it was minted for.
    pub revision: u64,
    /// Minting.
    pub created_at: Timestamp,
    /// End of the overlap after a rotation; absent for the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Last call with it at a gateway, refused for its host or not; up to five minutes behind while it is in use, absent while it was not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}
