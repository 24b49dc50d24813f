//! Third step: the caller may do this to that. Loads what is to be changed, and decides once.
//!
//! One idea: extraction takes only this type, so nothing can be changed that the policy was not asked about. Must never
//! decide by itself: the policy does. What a caller may not see does not exist for it.

use palladium_authz::Target;
use palladium_control_store::{ApiKeyRow, Resource};
use palladium_kinds::{Grant, RoleScope, Timestamp, project};

use super::validated::Wanted;
use super::{App, Authenticated, Validated, keys};
use crate::api::failure::Failure;

/// A request that the caller may make.
pub struct Authorized {
    pub(super) call: Authenticated,
    pub(super) wanted: Wanted,
    pub(super) target: Target,
    /// The path's project.
    pub(super) project: Option<Resource>,
    /// The object as it is.
    pub(super) existing: Option<Resource>,
    /// The key to be deleted.
    pub(super) key: Option<ApiKeyRow>,
    /// What a key to be made may do, and until when.
    pub(super) grant: Option<(Grant, Option<Timestamp>)>,
}

impl Validated {
    /// Asks the policy.
    pub(in crate::api) async fn authorize(self, app: &App) -> Result<Authorized, Failure> {
        let Self { call, wanted } = self;
        match &wanted {
            Wanted::CreateKey {
                role, scope, seconds, ..
            } => {
                let project = match scope {
                    None => None,
                    Some(name) => Some(visible_project(app, &call, name).await?),
                };
                let id = project.as_ref().and_then(Resource::owning_project);
                let target = id.as_ref().map_or_else(
                    || Target::organization(&app.organization.id),
                    |id| Target::project(&app.organization.id, id),
                );
                allow(app, &call, &target)?;
                let grant = Grant {
                    role: *role,
                    scope: id.map_or(RoleScope::Global, RoleScope::Project),
                };
                let until = keys::end_of_life(&call, &grant, *seconds)?;
                Ok(Authorized {
                    call,
                    wanted,
                    target,
                    project,
                    existing: None,
                    key: None,
                    grant: Some((grant, until)),
                })
            }
            Wanted::DeleteKey => {
                let organization = &app.organization.id;
                let target = |key: Option<&ApiKeyRow>| match key.map(|key| &key.grant.scope) {
                    Some(RoleScope::Project(id)) => Target::project(organization, id),
                    _ => Target::organization(organization),
                };
                // What the caller may not delete does not exist for it.
                let mut keys = app.store.keys_named(organization, call.param("name")).await?;
                keys.retain(|key| allow(app, &call, &target(Some(key))).is_ok());
                if keys.len() > 1 {
                    return Err(Failure::conflict(
                        "several API keys have this name, in different scopes; delete it by its id",
                    ));
                }
                let key = keys.pop();
                let target = target(key.as_ref());
                allow(app, &call, &target)?;
                let key = Some(key.ok_or_else(|| Failure::not_found("API key"))?);
                Ok(Authorized {
                    call,
                    wanted,
                    target,
                    project: None,
                    existing: None,
                    key,
                    grant: None,
                })
            }
            _ => {
                let (target, project) = call.target(app).await?;
                allow(app, &call, &target)?;
                let kind = call.kind()?;
                let existing = match &wanted {
                    Wanted::Create(_) => None,
                    _ => Some(
                        call.object(app, project.as_ref())
                            .await?
                            .ok_or_else(|| Failure::not_found(kind.kind))?,
                    ),
                };
                Ok(Authorized {
                    call,
                    wanted,
                    target,
                    project,
                    existing,
                    key: None,
                    grant: None,
                })
            }
        }
    }
}

fn allow(app: &App, call: &Authenticated, target: &Target) -> Result<(), Failure> {
    if app.authorizer.authorize(&call.actor, call.action, target) {
        Ok(())
    } else {
        Err(Failure::forbidden(call.action.name))
    }
}

/// A project named in a body: one that the caller may not see does not exist for it.
async fn visible_project(app: &App, call: &Authenticated, name: &str) -> Result<Resource, Failure> {
    let organization = &app.organization.id;
    let found = app
        .store
        .resource_find_by_id_or_name(organization, project::KIND.kind, name)
        .await?;
    let found = found.ok_or_else(|| Failure::hidden(project::KIND.kind))?;
    let id = found
        .owning_project()
        .ok_or_else(|| Failure::hidden(project::KIND.kind))?;
    if app
        .authorizer
        .authorize(&call.actor, &project::GET, &Target::project(organization, &id))
    {
        Ok(found)
    } else {
        Err(Failure::hidden(project::KIND.kind))
    }
}
