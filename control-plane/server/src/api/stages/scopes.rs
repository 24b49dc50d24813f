//! Scopes of objects that name nobody.
//!
//! The one idea: files may name App IDs before they exist, so such a scope is no error; but it is told on every read
//! until it is true.
//!
//! Must never refuse anything.

use std::collections::{BTreeMap, BTreeSet};

use palladium_control_store::Resource;
use palladium_kinds::status::Message;
use palladium_kinds::{ProjectId, app_identity};
use serde_json::Value;

use super::App;
use crate::api::failure::Failure;

/// Adds a message to every object with a scope that is no App ID of its project; asks the store once for each project.
pub(super) async fn tell_unknown(app: &App, objects: &mut [Resource]) -> Result<(), Failure> {
    let mut named: BTreeMap<ProjectId, BTreeSet<&str>> = BTreeMap::new();
    for object in objects.iter() {
        for (project, scope) in scopes(object) {
            named.entry(project.clone()).or_default().insert(scope);
        }
    }
    let mut known = BTreeSet::new();
    for (project, names) in named {
        let (organization, kind) = (&app.organization.id, app_identity::KIND.kind);
        let found = app.store.resource_names(organization, kind, &project, &names).await?;
        known.extend(found.into_iter().map(|name| (project.clone(), name)));
    }
    for object in objects {
        let unknown =
            |(project, scope): &(&ProjectId, &str)| !known.contains(&((*project).clone(), (*scope).to_owned()));
        let messages: Vec<Message> = scopes(object)
            .filter(unknown)
            .map(|(_, scope)| Message {
                message: format!(
                    "scope {scope} is no App ID of this project; create it, or change the scopes: nobody else is meant by it"
                ),
            })
            .collect();
        object.status.messages.extend(messages);
    }
    Ok(())
}

/// The scopes of an object that is not being deleted; kinds without scopes have none.
fn scopes(object: &Resource) -> impl Iterator<Item = (&ProjectId, &str)> {
    let project = object.project.as_ref().filter(|_| object.deleted_at.is_none());
    project.into_iter().flat_map(|project| {
        let scopes = object.content.get("scopes").and_then(Value::as_array);
        let scopes = scopes.into_iter().flatten().filter_map(Value::as_str);
        scopes.map(move |scope| (project, scope))
    })
}
