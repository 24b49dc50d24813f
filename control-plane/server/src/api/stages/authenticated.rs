//! First step: somebody recognized, with a request that nobody has looked at yet.
//!
//! One idea: whatever happens to the request later, it is known from here on who made it, so every end of it can be
//! recorded. Must never read the body of a stranger.

use std::collections::BTreeMap;

use http::HeaderMap;
use palladium_audit::Record;
use palladium_authn::{Caller, Refusal};
use palladium_authz::{Actor, Target};
use palladium_control_store::Resource;
use palladium_kinds::audit_event::{AuditActor, AuditResource, AuditSource};
use palladium_kinds::definition::Scope;
use palladium_kinds::{Action, KindDefinition, Timestamp, project};
use serde_json::Value;

use super::App;
use super::app::ANONYMOUS;
use crate::api::failure::Failure;
use crate::api::route::Route;

/// From where a request came.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Address of the peer.
    pub ip: String,
    /// As sent.
    pub user_agent: String,
    /// Made here.
    pub request_id: String,
}

/// The parts of a request that handlers may see.
#[derive(Debug, Default)]
pub struct RequestParts {
    /// Path parameters, decoded.
    pub params: BTreeMap<String, String>,
    /// Query parameters, decoded.
    pub query: BTreeMap<String, String>,
    /// JSON body.
    pub body: Option<Value>,
}

/// A recognized caller with its request.
pub struct Authenticated {
    pub(super) actor: Actor,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) action: &'static Action,
    pub(super) kind: Option<&'static KindDefinition>,
    pub(super) parts: RequestParts,
    pub(super) record: Record,
}

impl Authenticated {
    /// Recognizes the caller; the body is read only afterwards, by `parts`, so that strangers cannot make us read one.
    pub(in crate::api) async fn recognize<F>(
        app: &App,
        route: &Route,
        action: &'static Action,
        headers: &HeaderMap,
        source: Source,
        parts: impl FnOnce() -> F,
    ) -> Result<Self, (Failure, Option<Record>)>
    where
        F: Future<Output = Result<RequestParts, Failure>>,
    {
        let mut record = Record {
            actor: AuditActor {
                kind: "unauthenticated".into(),
                name: ANONYMOUS.into(),
                ..AuditActor::default()
            },
            action: action.name,
            resource: AuditResource {
                kind: named(route),
                ..AuditResource::default()
            },
            source: AuditSource {
                ip: source.ip,
                user_agent: source.user_agent,
                request_id: source.request_id,
            },
        };
        let caller: Caller = match app.authenticator.authenticate(headers).await {
            Ok(caller) => caller,
            Err(Refusal::Store(error)) => return Err((error.into(), None)),
            Err(refusal) => {
                app.note_stranger(&record, &refusal.to_string()).await;
                return Err((Failure::unauthenticated(), None));
            }
        };
        record.actor = AuditActor {
            kind: "apikey".into(),
            id: caller.id.clone(),
            name: caller.name.clone(),
            on_behalf_of: String::new(),
        };
        let parts = match parts().await {
            Ok(parts) => parts,
            Err(failure) => return Err((failure, Some(record))),
        };
        let param = |name: &str| parts.params.get(name).cloned().unwrap_or_default();
        record.resource.name = if parts.params.contains_key("name") {
            param("name")
        } else {
            submitted_name(parts.body.as_ref()).unwrap_or_else(|| param("project"))
        };
        record.resource.project_id = param("project");
        let actor = Actor {
            kind: "apikey",
            id: caller.id,
            name: caller.name,
            organization: caller.organization,
            grants: vec![caller.grant],
        };
        Ok(Self {
            actor,
            expires_at: caller.expires_at,
            action,
            kind: route.kind(),
            parts,
            record,
        })
    }

    /// For the audit log, should this fail.
    pub(in crate::api) fn record(&self) -> &Record {
        &self.record
    }

    /// Whether this is about that action.
    pub(in crate::api) fn action_is(&self, action: &Action) -> bool {
        self.action == action
    }

    pub(super) fn param(&self, name: &str) -> &str {
        self.parts.params.get(name).map_or("", String::as_str)
    }

    pub(super) fn query(&self, name: &str) -> &str {
        self.parts.query.get(name).map_or("", String::as_str)
    }

    pub(super) fn kind(&self) -> Result<&'static KindDefinition, Failure> {
        self.kind
            .ok_or_else(|| Failure::new(http::StatusCode::INTERNAL_SERVER_ERROR, "route without a kind"))
    }

    /// The path's target: a project that the caller may see, or the organization. What it may not see does not exist for it.
    pub(super) async fn target(&self, app: &App) -> Result<(Target, Option<Resource>), Failure> {
        let organization = &app.organization.id;
        if !self.parts.params.contains_key("project") {
            return Ok((Target::organization(organization), None));
        }
        let found = app
            .store
            .resource_find_by_id_or_name(organization, project::KIND.kind, self.param("project"))
            .await?;
        let Some(found) = found else {
            return Err(Failure::hidden(project::KIND.kind));
        };
        let id = found
            .owning_project()
            .ok_or_else(|| Failure::not_found(project::KIND.kind))?;
        let target = Target::project(organization, &id);
        if !app.authorizer.authorize(&self.actor, &project::GET, &target) {
            return Err(Failure::hidden(project::KIND.kind));
        }
        Ok((target, Some(found)))
    }

    /// The object that the path names, if it exists.
    pub(super) async fn object(&self, app: &App, project: Option<&Resource>) -> Result<Option<Resource>, Failure> {
        let kind = self.kind()?;
        if kind.kind == project::KIND.kind {
            return Ok(project.cloned());
        }
        let organization = &app.organization.id;
        if kind.scope == Scope::Organization {
            return Ok(app
                .store
                .resource_find_by_id_or_name(organization, kind.kind, self.param("name"))
                .await?);
        }
        // A name that could not have been stored cannot be found; it is not worth an error of its own.
        let Ok(name) = kind.names.canonical(self.param("name")) else {
            return Ok(None);
        };
        let id = project.and_then(Resource::owning_project);
        Ok(app
            .store
            .resource_find(organization, kind.kind, id.as_ref(), &name)
            .await?)
    }
}

/// What the body calls the object: its name when it is about to be made. As sent; the record cleans and cuts it.
fn submitted_name(body: Option<&Value>) -> Option<String> {
    let body = body?;
    let name = body.pointer("/metadata/name").or_else(|| body.get("name"))?;
    name.as_str().map(str::to_owned)
}

fn named(route: &Route) -> String {
    match route.kind() {
        Some(kind) => kind.kind.to_owned(),
        None => route
            .action()
            .map(|action| action.name.split('.').next().unwrap_or_default())
            .unwrap_or_default()
            .to_owned(),
    }
}
