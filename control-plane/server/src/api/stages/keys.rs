//! Rules about API keys that need the caller: nobody mints more than they have.
//!
//! One idea: a key is a grant and a life, and both must lie within the caller's. Must never let a key outlive the one
//! that made it.

use palladium_authn::ApiKeyToken;
use palladium_control_store::{ApiKeyRow, NewApiKey};
use palladium_kinds::api_key::ApiKey;
use palladium_kinds::{Grant, OrganizationId, RoleScope, Timestamp};

use super::Authenticated;
use crate::api::failure::Failure;

/// When a key made by this caller may end; refused when it would have more rights or a longer life than the caller.
pub(super) fn end_of_life(
    call: &Authenticated,
    grant: &Grant,
    seconds: Option<u64>,
) -> Result<Option<Timestamp>, Failure> {
    if !call.actor.grants.iter().any(|own| own.covers(grant)) {
        return Err(Failure::forbidden("a key with more rights than the caller's own"));
    }
    let now = Timestamp::now().unix_millis();
    let millis = seconds.map(|seconds| i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX));
    let wanted = millis.map(|millis| Timestamp::from_unix_millis(now.saturating_add(millis)));
    match (call.expires_at, wanted) {
        (Some(own), None) => Err(longer(own)),
        (Some(own), Some(wanted)) if wanted > own => Err(longer(own)),
        _ => Ok(wanted),
    }
}

fn longer(own: Timestamp) -> Failure {
    Failure::forbidden(&format!("a key that outlives the caller's own, which ends at {own},"))
}

/// A fresh key and its row.
pub(super) fn mint(
    organization: &OrganizationId,
    name: String,
    grant: Grant,
    expires_at: Option<Timestamp>,
    by: &str,
) -> (ApiKeyToken, NewApiKey, ApiKey) {
    let minted = ApiKeyToken::mint(organization, &name, &grant, expires_at);
    let shown = ApiKey {
        id: minted.id.clone(),
        name: name.clone(),
        role: grant.role,
        scope: scope_text(&grant.scope),
        created_at: Timestamp::now(),
        created_by: by.to_owned(),
        expires_at,
    };
    let digest = minted.digest;
    let row = NewApiKey {
        id: minted.id.clone(),
        name,
        token_sha256: digest,
        grant,
        created_by: by.to_owned(),
        expires_at,
    };
    (minted, row, shown)
}

/// A key as the API shows it.
pub(super) fn shown(row: &ApiKeyRow) -> ApiKey {
    ApiKey {
        id: row.id.clone(),
        name: row.name.clone(),
        role: row.grant.role,
        scope: scope_text(&row.grant.scope),
        created_at: row.created_at,
        created_by: row.created_by.clone(),
        expires_at: row.expires_at,
    }
}

/// `global` or `project:<id>`.
pub(super) fn scope_text(scope: &RoleScope) -> String {
    match scope {
        RoleScope::Global => "global".to_owned(),
        RoleScope::Project(id) => format!("project:{id}"),
    }
}
