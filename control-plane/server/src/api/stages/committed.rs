//! Last step: written together with its record, or not at all.
//!
//! One idea: change and record are one transaction; the answer is made of what was committed, secrets masked. Must
//! never answer before the change is durable.

use http::StatusCode;
use palladium_control_store::Resource;
use palladium_kinds::api_key::ApiKeyCreated;
use palladium_kinds::status::Message;
use palladium_kinds::{KindDefinition, app_identity, component};
use palladium_sealing::ExposeSecret as _;
use serde_json::Value;

use super::extracted::Reply;
use super::{App, Extracted, scopes};
use crate::api::failure::Failure;
use crate::api::route::Answer;

impl Extracted {
    /// Writes.
    pub(in crate::api) async fn commit(self, app: &App) -> Result<Answer, Failure> {
        let Self {
            call,
            mutations,
            resource,
            changes,
            hashes,
            reply,
        } = self;
        let mut record = call.record.clone();
        record.resource = resource;
        let status = match &reply {
            Reply::Object(_) => StatusCode::ACCEPTED,
            Reply::KeyCreated(..) | Reply::JoinToken(_) => StatusCode::CREATED,
            Reply::KeyDeleted(_) => StatusCode::OK,
        };
        let event = record.change(status.as_u16(), changes, hashes.0, hashes.1);
        let deleting = call.action.name.ends_with(".delete");
        let uid = event.resource.uid.clone();
        let committed = app.store.commit(&app.organization.id, mutations, event).await?;
        let body = match reply {
            Reply::Object(before) => {
                // A commit may touch more than what was asked for; the answer is about that.
                let mut touched = committed.resources.into_iter();
                let now = touched
                    .find(|resource| resource.uid == uid)
                    .or(before.map(|before| *before));
                let mut object = now.ok_or_else(|| Failure::not_found("object"))?;
                if deleting {
                    farewell(&mut object);
                } else if let Err(error) = scopes::tell_unknown(app, std::slice::from_mut(&mut object)).await {
                    // The change is made, whatever becomes of a hint.
                    tracing::warn!(?error, "scopes were not looked at");
                }
                if call.action_is(&app_identity::TOKENS_ROTATE) || call.action_is(&app_identity::TOKENS_REVOKE) {
                    tell_absence(app, &mut object).await;
                }
                shown(call.kind()?, &object)
            }
            Reply::KeyCreated(key, token) => json(&ApiKeyCreated {
                key,
                token: token.expose_secret().to_owned(),
            }),
            Reply::KeyDeleted(key) => json(&key),
            Reply::JoinToken(created) => json(&created),
        };
        Ok(Answer::with(status, body))
    }
}

/// What people should know when they delete something.
fn farewell(object: &mut Resource) {
    let kept = match object.kind.as_str() {
        kind if kind == app_identity::KIND.kind => {
            "its managed data is destroyed; what it wrote through your own components stays where it is"
        }
        kind if kind == component::KIND.kind => "managed data is destroyed with it; your own store keeps what is in it",
        _ => return,
    };
    object.status.status = palladium_kinds::status::word::DELETING.into();
    // First: what was wrong with it so far matters no more.
    object.status.messages.insert(0, Message { message: kept.into() });
}

/// Whoever changes tokens has to know when nobody hears of it: what was revoked goes on working there.
async fn tell_absence(app: &App, object: &mut Resource) {
    if app.regions.is_connected(&object.region_id) {
        return;
    }
    let kind = palladium_kinds::region::KIND.kind;
    let found = app
        .store
        .resource_find_by_id_or_name(&app.organization.id, kind, &object.region_id);
    let name = match found.await {
        Ok(Some(region)) => region.name,
        _ => object.region_id.clone(),
    };
    let message = format!(
        "region {name} is not connected: this will take hold when region {name} reconnects; until then the tokens made so \
         far are accepted there"
    );
    object.status.messages.insert(0, Message { message });
}

/// An object as readers without special rights see it.
pub(super) fn shown(kind: &KindDefinition, resource: &Resource) -> Value {
    let mut object = resource.to_object();
    palladium_secrets::mask(kind, &mut object.content);
    json(&object)
}

/// JSON of something that always serializes.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
