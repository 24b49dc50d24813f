//! Fourth step for credentials: tokens of App IDs, API keys, join tokens.
//!
//! The one idea: none of them is in the object that they belong to; a revision, a digest or a promise is all that is written.
//! Must never put one into a record.

use std::collections::BTreeMap;

use palladium_audit::Side;
use palladium_control_store::Mutation;
use palladium_kinds::Timestamp;
use palladium_kinds::api_key::{ApiKey, JoinTokenCreated};
use palladium_kinds::audit_event::AuditResource;
use palladium_sealing::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::extracted::{Reply, named};
use super::{App, Authorized, Extracted, complete, keys};
use crate::api::failure::Failure;

impl Authorized {
    /// Rotation raises the revision; revocation raises the least revision that is accepted, too.
    pub(super) async fn extract_tokens(self, app: &App, revoke: bool) -> Result<Extracted, Failure> {
        let existing = self.existing()?;
        let spec = existing.content.get("spec").cloned().unwrap_or_default();
        let next = spec.get("apiTokenRevision").and_then(Value::as_u64).unwrap_or_default() + 1;
        let mut patch = Map::new();
        patch.insert("spec".into(), json!({ "apiTokenRevision": next }));
        if revoke {
            patch["spec"]["apiTokenMinimumRevision"] = next.into();
        }
        let draft = complete::merged(self.call.kind()?, existing, patch)?;
        self.extract_update(app, draft).await
    }

    /// A new API key.
    pub(super) fn extract_key(mut self, app: &App, name: String) -> Result<Extracted, Failure> {
        let (grant, until) = self
            .grant
            .take()
            .ok_or_else(|| Failure::forbidden(self.call.action.name))?;
        let (minted, row, shown) = keys::mint(&app.organization.id, name, grant, until, &self.call.actor.id);
        let (changes, hash) = with_side(&shown, |after| {
            (
                palladium_audit::difference(None, Some(after)),
                palladium_audit::hash(after),
            )
        });
        let resource = AuditResource {
            kind: "apikeys".into(),
            name: shown.name.clone(),
            uid: shown.id.clone(),
            project_id: String::new(),
        };
        let reply = Reply::KeyCreated(shown, minted.token);
        Ok(self.done(
            vec![Mutation::CreateKey(row)],
            resource,
            changes,
            (String::new(), hash),
            reply,
        ))
    }

    /// The end of an API key.
    pub(super) fn extract_key_deletion(mut self) -> Result<Extracted, Failure> {
        let key = self.key.take().ok_or_else(|| Failure::not_found("API key"))?;
        let shown = keys::shown(&key);
        let resource = AuditResource {
            kind: "apikeys".into(),
            name: key.name,
            uid: key.id.clone(),
            project_id: String::new(),
        };
        let (changes, hash) = with_side(&shown, |before| {
            (
                palladium_audit::difference(Some(before), None),
                palladium_audit::hash(before),
            )
        });
        let mutations = vec![Mutation::DeleteKey { id: key.id }];
        let hashes = (hash, String::new());
        Ok(self.done(mutations, resource, changes, hashes, Reply::KeyDeleted(shown)))
    }

    /// A join token, as long as the region has not joined.
    pub(super) async fn extract_join_token(self, app: &App) -> Result<Extracted, Failure> {
        let region = self.existing()?;
        if app.store.region_record(&region.id).await?.is_some() {
            return Err(Failure::conflict(
                "the region has joined already; its own key lets it back in",
            ));
        }
        let id = region.id.parse().map_err(|_| Failure::not_found("Region"))?;
        let (resource, region) = (named(region), region.name.clone());
        let minted = app.regions.mint_join_token(&id);
        let (token, record) = minted.map_err(|error| {
            tracing::error!(%error, region, "no join token");
            Failure::unavailable("the join token could not be made; see the control plane's log")
        })?;
        let expires_at = Timestamp::from_unix_millis(record.expires_at_unix_ms);
        let mutations = vec![Mutation::CreateJoinToken(record)];
        let created = JoinTokenCreated {
            region,
            join_token: token.expose_secret().to_owned(),
            expires_at,
        };
        Ok(self.done(
            mutations,
            resource,
            vec![],
            Default::default(),
            Reply::JoinToken(created),
        ))
    }
}

/// An API key as the audit log compares it; nothing of it is secret.
fn with_side<T>(key: &ApiKey, use_it: impl FnOnce(Side<'_>) -> T) -> T {
    let content = serde_json::to_value(key).ok();
    let content = content.and_then(|value| value.as_object().cloned()).unwrap_or_default();
    use_it(Side {
        content: &content,
        secrets: &BTreeMap::new(),
    })
}
