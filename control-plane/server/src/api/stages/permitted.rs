//! The step of every read: the caller may look at that.
//!
//! One idea: a read without this type does not compile, and a collection is cut to the projects that the policy named.
//! Must never read beyond what the policy lets this caller see, nor change anything.

use std::collections::BTreeSet;

use palladium_authz::{Target, Visibility};
use palladium_control_store::{AuditFilter, Resource};
use palladium_kinds::api_key::{OrganizationRef, RoleAssignment, WhoAmI};
use palladium_kinds::{ProjectId, Timestamp, app_identity, project, registry};
use serde_json::{Value, json};

use super::app::UNAUTHENTICATED;
use super::committed::{json as to_json, shown};
use super::{App, Authenticated, keys, scopes};
use crate::api::failure::Failure;
use crate::bootstrap::BOOTSTRAP;

/// Most items of one page.
const PAGE_MAX: u32 = 500;

/// A read that the caller may make.
pub struct Permitted {
    pub(super) call: Authenticated,
    pub(super) target: Target,
    project: Option<Resource>,
    /// Of a collection of projects, only these.
    only: Option<BTreeSet<ProjectId>>,
}

impl Authenticated {
    /// Asks the policy about the path's target.
    pub(in crate::api) async fn permit(self, app: &App) -> Result<Permitted, Failure> {
        let (target, project) = self.target(app).await?;
        if !app.authorizer.authorize(&self.actor, self.action, &target) {
            return Err(Failure::forbidden(self.action.name));
        }
        Ok(Permitted {
            call: self,
            target,
            project,
            only: None,
        })
    }

    /// For what is not in one project: whoever may see any part of it sees that part.
    pub(in crate::api) fn permit_visible(self, app: &App) -> Result<Permitted, Failure> {
        let only = match app.authorizer.visibility(&self.actor, self.action) {
            Visibility::Nothing => return Err(Failure::forbidden(self.action.name)),
            Visibility::Everything => None,
            Visibility::Projects(projects) => Some(projects),
        };
        Ok(Permitted {
            target: Target::organization(&app.organization.id),
            call: self,
            project: None,
            only,
        })
    }
}

impl Permitted {
    /// One page of a collection.
    pub(in crate::api) async fn list(&self, app: &App) -> Result<Value, Failure> {
        let kind = self.call.kind()?;
        let limit = self.limit()?;
        let id = self.project.as_ref().and_then(Resource::owning_project);
        let (after, only) = (self.call.query("continue"), self.only.as_ref());
        let organization = &app.organization.id;
        // One more tells whether there is another page.
        let listed = app
            .store
            .resource_list(organization, kind.kind, id.as_ref(), only, after, limit + 1);
        let mut items = listed.await?;
        let is_cut = items.len() > limit as usize;
        items.truncate(limit as usize);
        let more = items.last().filter(|_| is_cut).map(|last| last.name.clone());
        scopes::tell_unknown(app, &mut items).await?;
        let items: Vec<Value> = items.iter().map(|resource| shown(kind, resource)).collect();
        let version = kind.api_versions.first().copied().unwrap_or_default();
        let mut list = json!({ "apiVersion": version, "kind": format!("{}List", kind.kind), "items": items });
        if let Some(more) = more {
            list["metadata"] = json!({ "continue": more });
        }
        Ok(list)
    }

    /// The object that the path names.
    pub(super) async fn found(&self, app: &App) -> Result<Resource, Failure> {
        let found = self.call.object(app, self.project.as_ref()).await?;
        let mut found = found.ok_or_else(|| Failure::not_found(self.call.kind.map_or("object", |kind| kind.kind)))?;
        scopes::tell_unknown(app, std::slice::from_mut(&mut found)).await?;
        Ok(found)
    }

    /// Which tokens an App ID has, as its region reported.
    pub(in crate::api) async fn tokens(&self, app: &App) -> Result<Value, Failure> {
        let found = self.found(app).await?;
        debug_assert_eq!(found.kind, app_identity::KIND.kind);
        Ok(json!({ "items": found.status.details.get("tokens").cloned().unwrap_or(json!([])) }))
    }

    /// API keys that the caller administers.
    pub(in crate::api) async fn api_keys(&self, app: &App) -> Result<Value, Failure> {
        let rows = app.store.key_list(&app.organization.id, self.only.as_ref()).await?;
        let items: Vec<Value> = rows.iter().map(|row| to_json(&keys::shown(row))).collect();
        Ok(json!({ "items": items }))
    }

    /// One page of the audit log; whoever administers some projects sees what concerns them.
    pub(in crate::api) async fn audit(&self, app: &App) -> Result<Value, Failure> {
        let query = |name: &str| self.call.query(name).to_owned();
        let time = |name: &str| match self.call.query(name) {
            "" => Ok(None),
            text => Timestamp::parse(text).map(|at| Some(at.unix_millis())).ok_or_else(|| {
                Failure::bad_request(format!(
                    "{name}: is not a time; use the form 2026-01-31 12:00:00 or RFC 3339"
                ))
            }),
        };
        let before = match self.call.query("continue") {
            "" => 0,
            text => text
                .parse()
                .map_err(|_| Failure::bad_request("continue: is not from an earlier answer"))?,
        };
        let filter = AuditFilter {
            action: known_action(query("action"))?,
            actor: query("actor"),
            outcome: query("outcome"),
            kind: query("kind"),
            name: query("name"),
            project_id: self.audit_project(app).await?,
            since: time("since")?,
            until: time("until")?,
            before,
            limit: self.limit()?,
        };
        let page = app.store.audit_list(&app.organization.id, &filter).await?;
        let mut list = json!({ "items": page.events });
        if let Some(next) = page.next {
            list["metadata"] = json!({ "continue": next.to_string() });
        }
        Ok(list)
    }

    /// The project filter; a caller that administers projects only must name one of them.
    async fn audit_project(&self, app: &App) -> Result<String, Failure> {
        let named = self.call.query("project");
        if named.is_empty() {
            return match &self.only {
                None => Ok(String::new()),
                Some(_) => Err(Failure {
                    refused: true,
                    ..Failure::forbidden("audit.list without naming your project (?project=…)")
                }),
            };
        }
        let found = app
            .store
            .resource_find_by_id_or_name(&app.organization.id, project::KIND.kind, named)
            .await?;
        let id = found.as_ref().and_then(Resource::owning_project);
        match (id, &self.only) {
            (Some(id), None) => Ok(id.to_string()),
            (Some(id), Some(only)) if only.contains(&id) => Ok(id.to_string()),
            // A project that is gone still has a history; its id is all that is left of it.
            (None, None) if named.parse::<ProjectId>().is_ok() => Ok(named.to_owned()),
            _ => Err(Failure::hidden(project::KIND.kind)),
        }
    }

    /// Who the caller is.
    pub(in crate::api) fn whoami(&self, app: &App) -> Value {
        let actor = &self.call.actor;
        let roles = actor.grants.iter().map(|grant| RoleAssignment {
            role: grant.role,
            scope: keys::scope_text(&grant.scope),
        });
        to_json(&WhoAmI {
            actor_type: actor.kind.to_owned(),
            id: actor.id.clone(),
            name: actor.name.clone(),
            organization: OrganizationRef {
                id: app.organization.id.to_string(),
                name: app.organization.name.clone(),
                plan: "enterprise".to_owned(),
            },
            roles: roles.collect(),
            expires_at: self.call.expires_at,
        })
    }

    fn limit(&self) -> Result<u32, Failure> {
        match self.call.query("limit") {
            "" => Ok(PAGE_MAX),
            text => match text.parse::<u32>() {
                Ok(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
                _ => Err(Failure::bad_request(format!("limit: use 1 to {PAGE_MAX}"))),
            },
        }
    }
}

/// An action that can stand in a record. A misspelt one would be answered by an empty list, as if nothing had happened.
fn known_action(named: String) -> Result<String, Failure> {
    let mut known: Vec<&str> = registry::actions().iter().map(|action| action.name).collect();
    known.extend([UNAUTHENTICATED, BOOTSTRAP]);
    if named.is_empty() || known.contains(&named.as_str()) {
        return Ok(named);
    }
    Err(Failure::bad_request(format!(
        "action: there is no such action; use one of: {}",
        known.join(", ")
    )))
}
