//! Reads of one object, with its secrets where the caller may see them.
//!
//! The one idea: a secret is fetched from the region on the spot, recorded before it is shown, and kept nowhere.
//!
//! Must never show what could not be recorded.

use palladium_audit::Outcome;
use palladium_control_store::Resource;
use palladium_kinds::audit_event::AuditResource;
use palladium_kinds::status::Message;
use palladium_kinds::{Action, KindDefinition, app_identity};
use palladium_regions::{ReadBack, ReadBackError};
use palladium_sealing::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::committed::{json, shown};
use super::{App, Permitted};
use crate::api::failure::Failure;

/// What the reader asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    No,
    Yes,
    /// Nothing was said.
    Unsaid,
}

impl Permitted {
    /// The object that the path names. `showsensitive=true` asks for its secrets and is refused to whoever may not see them; an
    /// App ID shows its token to permitted readers unless `showsensitive=false`, as Catalyst's clients expect.
    pub(in crate::api) async fn get(&self, app: &App) -> Result<Value, Failure> {
        let kind = self.call.kind()?;
        let asked = match self.call.query("showsensitive") {
            "" => Asked::Unsaid,
            "true" | "1" => Asked::Yes,
            "false" | "0" => Asked::No,
            _ => return Err(Failure::bad_request("showsensitive: use true or false")),
        };
        let Some(action) = kind.crud.read_sensitive.filter(|_| asked != Asked::No) else {
            return Ok(shown(kind, &self.found(app).await?));
        };
        let may = app.authorizer.authorize(&self.call.actor, action, &self.target);
        if asked == Asked::Yes && !may {
            return Err(Failure::forbidden(action.name));
        }
        let found = self.found(app).await?;
        let is_app = kind.kind == app_identity::KIND.kind;
        if !may || (asked == Asked::Unsaid && !is_app) || found.deleted_at.is_some() {
            return Ok(shown(kind, &found));
        }
        self.with_secrets(app, kind, action, found, asked == Asked::Yes).await
    }

    async fn with_secrets(
        &self,
        app: &App,
        kind: &KindDefinition,
        action: &'static Action,
        mut found: Resource,
        fields_too: bool,
    ) -> Result<Value, Failure> {
        let mut secrets: Vec<(Option<String>, Result<SecretString, ReadBackError>)> = Vec::new();
        let actor = format!("{}/{}", self.call.actor.kind, self.call.actor.id);
        if kind.kind == app_identity::KIND.kind {
            let what = ReadBack::AppToken { uid: found.uid.clone() };
            secrets.push((None, app.regions.read_back(&found.region_id, what, &actor).await));
        }
        for field in palladium_secrets::secret_fields(kind, &found.content)
            .into_iter()
            .filter(|_| fields_too)
        {
            let what = ReadBack::Field {
                uid: found.uid.clone(),
                field: field.clone(),
            };
            let secret = app.regions.read_back(&found.region_id, what, &actor).await;
            let gone = matches!(secret, Err(ReadBackError::NotConnected | ReadBackError::Timeout));
            secrets.push((Some(field), secret));
            if gone {
                // The others would only wait as well.
                break;
            }
        }
        self.record_read(app, action, &found, &secrets).await?;
        let mut token = None;
        let mut plain = Vec::new();
        for (field, secret) in secrets {
            match (field, secret) {
                (None, Ok(secret)) => token = Some(secret),
                // An App ID whose token is not there yet simply shows none.
                (None, Err(ReadBackError::NotFound)) => {}
                (Some(field), Ok(secret)) => plain.push((field, secret)),
                (field, Err(error)) => {
                    let what = field.as_deref().unwrap_or("status.apiToken");
                    found.status.messages.push(Message {
                        message: format!("{what} is not shown: {error}"),
                    });
                }
            }
        }
        let mut object = found.to_object();
        palladium_secrets::mask(kind, &mut object.content);
        for (field, secret) in &plain {
            palladium_secrets::reveal(kind, &mut object.content, field, secret.expose_secret());
        }
        if let Some(token) = token
            && let Some(status) = object.status.as_object_mut()
        {
            status.insert("apiToken".into(), token.expose_secret().into());
        }
        Ok(json(&object))
    }

    /// What is shown has been recorded, or is not shown.
    async fn record_read(
        &self,
        app: &App,
        action: &'static Action,
        found: &Resource,
        secrets: &[(Option<String>, Result<SecretString, ReadBackError>)],
    ) -> Result<(), Failure> {
        if secrets.is_empty() {
            return Ok(());
        }
        let names = |wanted: bool| {
            let names = secrets.iter().filter(|(_, secret)| secret.is_ok() == wanted);
            names
                .map(|(field, _)| field.as_deref().unwrap_or("status.apiToken"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let (read, missed) = (names(true), names(false));
        let (outcome, reason) = match (read.as_str(), missed.as_str()) {
            ("", missed) => (Outcome::Failed, format!("not available: {missed}")),
            (read, "") => (Outcome::Success, format!("read: {read}")),
            (read, missed) => (Outcome::Success, format!("read: {read}; not available: {missed}")),
        };
        let mut record = self.call.record.clone();
        record.action = action.name;
        record.resource = AuditResource {
            kind: found.kind.clone(),
            name: found.name.clone(),
            uid: found.uid.clone(),
            project_id: found.owning_project().map(|id| id.to_string()).unwrap_or_default(),
        };
        Ok(app.record(&record.event(outcome, 200, &reason)).await?)
    }
}
