//! What a submitted object is completed with before it is compared and kept: things that depend on what is stored.
//!
//! Must never look at secrets.

use palladium_control_store::{Mutation, Resource};
use palladium_kinds::audit_event::FieldChange;
use palladium_kinds::component::ComponentContent;
use palladium_kinds::meta::Draft;
use palladium_kinds::project::MANAGED_KV_NAME;
use palladium_kinds::{
    FieldErrors, KindDefinition, ProjectId, app_identity, component, configuration, decode, project, region,
};
use serde_json::{Map, Value, json};

use super::App;
use crate::api::failure::Failure;
use crate::managed::{self, Obstacle};

/// A merge patch (RFC 7386) applied to what is stored, as a draft.
pub(super) fn merged(
    kind: &KindDefinition,
    existing: &Resource,
    mut patch: Map<String, Value>,
) -> Result<Draft, Failure> {
    patch.remove("status");
    let mut base = Value::Object(existing.content.clone());
    base["metadata"] = json!({ "labels": existing.labels, "annotations": existing.annotations });
    merge(&mut base, Value::Object(patch));
    Ok(decode::draft(kind, base)?)
}

fn merge(base: &mut Value, patch: Value) {
    match patch {
        Value::Object(patch) => {
            if !base.is_object() {
                *base = json!({});
            }
            if let Some(base) = base.as_object_mut() {
                for (key, value) in patch {
                    if value.is_null() {
                        base.remove(&key);
                    } else {
                        merge(base.entry(key).or_insert(Value::Null), value);
                    }
                }
            }
        }
        other => *base = other,
    }
}

/// Compares the preconditions in a body with the path and with what is stored.
pub(super) fn check_preconditions(
    draft: &Draft,
    existing: Option<&Resource>,
    project: Option<&Resource>,
) -> Result<(), Failure> {
    let own = existing
        .and_then(Resource::owning_project)
        .or_else(|| project.and_then(Resource::owning_project));
    if draft
        .project_id
        .as_deref()
        .is_some_and(|id| Some(id) != own.as_ref().map(|own| own.as_str()))
    {
        // An id of another project in a body is answered as if that project did not exist.
        return Err(Failure::hidden(project::KIND.kind));
    }
    let Some(existing) = existing else { return Ok(()) };
    if draft.name.as_deref().is_some_and(|name| name != existing.name) {
        return Err(FieldErrors::one(
            "metadata.name",
            "cannot change",
            "delete the object and create it under the new name",
        )
        .into());
    }
    if draft.uid.as_deref().is_some_and(|uid| uid != existing.uid) {
        return Err(Failure::conflict(
            "metadata.uid is that of another object; it was deleted and created again meanwhile",
        ));
    }
    // Status moves the version too, but does not stand in the way of a change.
    let seen = |version: u64| (existing.desired_version..=existing.resource_version).contains(&version);
    if draft.resource_version.is_some_and(|version| !seen(version)) {
        return Err(Failure::conflict(
            "the object was changed meanwhile; read it again and repeat the change",
        ));
    }
    Ok(())
}

/// Fills in what the kind leaves to the server; for a project, answers its region.
pub(super) async fn complete(
    app: &App,
    kind: &KindDefinition,
    content: &mut Map<String, Value>,
    existing: Option<&Resource>,
    project: Option<&Resource>,
) -> Result<Option<Resource>, Failure> {
    if kind.kind == app_identity::KIND.kind {
        complete_app_identity(content, existing, project)?;
        check_app_config(app, content, existing, project).await?;
    } else if kind.kind == component::KIND.kind {
        let typed: ComponentContent = decode::strict("", Value::Object(content.clone()))?;
        palladium_secrets::check_component(app.catalog, &typed)?;
    } else if kind.kind == project::KIND.kind {
        return complete_project(app, content, existing).await.map(Some);
    }
    Ok(None)
}

fn complete_app_identity(
    content: &mut Map<String, Value>,
    existing: Option<&Resource>,
    project: Option<&Resource>,
) -> Result<(), Failure> {
    let own = project.and_then(Resource::owning_project);
    let Some(spec) = content.get_mut("spec").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    let named = spec.get("projectId").and_then(Value::as_str);
    if named.is_some_and(|id| Some(id) != own.as_ref().map(|own| own.as_str())) {
        return Err(Failure::hidden(project::KIND.kind));
    }
    if let Some(own) = own {
        spec.insert("projectId".into(), own.as_str().into());
    }
    // Files that do not speak of revisions must not undo a rotation or a revocation.
    for key in ["apiTokenRevision", "apiTokenMinimumRevision"] {
        let stored = existing
            .and_then(|existing| existing.content.get("spec"))
            .and_then(|spec| spec.get(key));
        if spec.get(key).and_then(Value::as_u64).unwrap_or_default() == 0
            && let Some(stored) = stored
        {
            spec.insert(key.into(), stored.clone());
        }
    }
    Ok(())
}

/// The name in `spec.appConfig`; empty = none.
fn app_config(content: &Map<String, Value>) -> &str {
    let spec = content.get("spec").and_then(|spec| spec.get("appConfig"));
    spec.and_then(Value::as_str).unwrap_or_default()
}

/// A Configuration that is named must be there: with a misspelt one the App ID would run without the access control that
/// its owner relies on.
async fn check_app_config(
    app: &App,
    content: &Map<String, Value>,
    existing: Option<&Resource>,
    project: Option<&Resource>,
) -> Result<(), Failure> {
    let name = app_config(content);
    if name.is_empty() || existing.is_some_and(|existing| app_config(&existing.content) == name) {
        return Ok(());
    }
    let id = project.and_then(Resource::owning_project);
    let kind = configuration::KIND.kind;
    let found = app.store.resource_find(&app.organization.id, kind, id.as_ref(), name);
    if found.await?.is_some_and(|found| found.deleted_at.is_none()) {
        return Ok(());
    }
    let remedy = "create the Configuration first; see: palladium configuration list";
    Err(FieldErrors::one(
        "spec.appConfig",
        "there is no such Configuration in this project",
        remedy,
    )
    .into())
}

/// A Configuration that App IDs name stays: without it they would run without its access control, or not at all.
pub(super) async fn check_unused(app: &App, existing: &Resource) -> Result<(), Failure> {
    let (Some(project), true) = (&existing.project, existing.kind == configuration::KIND.kind) else {
        return Ok(());
    };
    let (organization, kind) = (&app.organization.id, app_identity::KIND.kind);
    let mut after = String::new();
    loop {
        let page = app
            .store
            .resource_list(organization, kind, Some(project), None, &after, PAGE);
        let page = page.await?;
        let uses = |one: &&Resource| one.deleted_at.is_none() && app_config(&one.content) == existing.name;
        if let Some(user) = page.iter().find(uses) {
            return Err(Failure::conflict(format!(
                "App ID {} runs with it; change its appConfig first: palladium appid update {} --app-config NAME",
                user.name, user.name
            )));
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after.clone_from(&last.name),
            _ => return Ok(()),
        }
    }
}

/// App IDs that are looked at together.
const PAGE: u32 = 500;

async fn complete_project(
    app: &App,
    content: &mut Map<String, Value>,
    existing: Option<&Resource>,
) -> Result<Resource, Failure> {
    let organization = &app.organization.id;
    let text = |content: &Map<String, Value>, key: &str| {
        content
            .get("spec")
            .and_then(|spec| spec.get(key))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut wanted = text(content, "region");
    if wanted.is_empty() {
        wanted = existing
            .map(|existing| text(&existing.content, "region"))
            .unwrap_or_default();
    }
    let found = if wanted.is_empty() {
        let mut all = app
            .store
            .resource_list(organization, region::KIND.kind, None, None, "", 1000)
            .await?;
        all.sort_by_key(|region| region.created_at);
        all.into_iter().next()
    } else {
        app.store
            .resource_find_by_id_or_name(organization, region::KIND.kind, &wanted)
            .await?
    };
    let Some(region) = found else {
        return Err(FieldErrors::one("spec.region", "there is no such region", "see: palladium region list").into());
    };
    if let Some(spec) = content.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("region".into(), region.name.clone().into());
        // Files that do not speak of the managed store must not destroy it.
        let stored = existing.and_then(|existing| managed::is_wanted(&existing.content));
        let kept = stored.unwrap_or_default().into();
        spec.entry("managedKvEnabled").or_insert(kept);
    }
    Ok(region)
}

/// What is made or deleted together with a project.
pub(super) async fn belonging(
    app: &App,
    kind: &KindDefinition,
    id: Option<ProjectId>,
    before: Option<&Resource>,
    after: &Map<String, Value>,
) -> Result<Option<(Mutation, FieldChange)>, Failure> {
    let Some(id) = id.filter(|_| kind.kind == project::KIND.kind) else {
        return Ok(None);
    };
    let was = before.and_then(|before| managed::is_wanted(&before.content));
    let wanted = managed::is_wanted(after).unwrap_or_default();
    let existing = app
        .store
        .resource_find(&app.organization.id, component::KIND.kind, Some(&id), MANAGED_KV_NAME)
        .await?;
    managed::follow(id, was.unwrap_or_default(), wanted, existing).map_err(|obstacle| match obstacle {
        Obstacle::Taken => Failure::conflict(format!(
            "the project has a component {MANAGED_KV_NAME} of another type; delete it first, or leave managedKvEnabled off"
        )),
        Obstacle::Deleting => Failure::conflict(format!(
            "component {MANAGED_KV_NAME} is being deleted; switch the managed store on again when that is done"
        )),
        Obstacle::Invalid(errors) => errors.into(),
    })
}

/// 409: the name of the managed store.
pub(super) fn name_is_managed() -> Failure {
    Failure::conflict(format!(
        "{MANAGED_KV_NAME} is the project's managed key-value store; choose another name, or change that one with PUT or PATCH"
    ))
}

/// 400: the managed store is not deleted by itself.
pub(super) fn is_managed(project: Option<&Resource>) -> Failure {
    let name = project.map_or("NAME", |project| project.name.as_str());
    Failure::bad_request(format!(
        "{MANAGED_KV_NAME} is the project's managed key-value store and cannot be deleted directly; switch it off, which destroys \
         its data: palladium project update {name} --deploy-managed-kv=false"
    ))
}
