//! Components that belong to their project: the managed key-value store `kvstore`.
//!
//! The one idea: a project's `managedKvEnabled` and the component are changed by one commit, so one never says what the other does
//! not do; what is missing is made by the next change of the project, whatever that changes.
//!
//! Must never destroy what a person made: a component of that name and type becomes the managed one, any other is a conflict.

use palladium_control_store::{Create, Mutation, Resource, Update};
use palladium_kinds::audit_event::FieldChange;
use palladium_kinds::definition::REGION_FINALIZER;
use palladium_kinds::project::{MANAGED_KV_NAME, MANAGED_KV_TYPE};
use palladium_kinds::{FieldErrors, ProjectId, component, ids};
use serde_json::{Map, Value, json};

/// Whether a project's content asks for the store; `None` when it does not speak of it.
pub(crate) fn is_wanted(project: &Map<String, Value>) -> Option<bool> {
    project.get("spec")?.get("managedKvEnabled")?.as_bool()
}

/// Whether a component of that kind and name is the project's and not the user's.
pub(crate) fn is_managed(kind: &str, name: &str, project: Option<&Resource>) -> bool {
    kind == component::KIND.kind
        && name == MANAGED_KV_NAME
        && project.is_some_and(|project| is_wanted(&project.content) == Some(true))
}

/// The component as it is made.
pub(crate) fn kv_store(project: ProjectId) -> Result<Create, FieldErrors> {
    let kind = &component::KIND;
    Ok(Create {
        kind: kind.kind.into(),
        project: Some(project),
        id: String::new(),
        region: None,
        name: MANAGED_KV_NAME.into(),
        uid: ids::new_uid(),
        content: (kind.normalize)(json!({ "spec": { "type": MANAGED_KV_TYPE, "version": "v1" } }))?,
        labels: Default::default(),
        annotations: Default::default(),
        finalizers: vec![REGION_FINALIZER.to_owned()],
        sealed: vec![],
    })
}

/// Why the component cannot follow the project.
pub(crate) enum Obstacle {
    /// The name is taken by something else.
    Taken,
    /// The one before is still on its way out.
    Deleting,
    /// The component is not valid; never, but for a mistake in this file.
    Invalid(FieldErrors),
}

/// What is to be done so that the component is there when `wanted`, and gone when it `was` there and is not wanted any more.
pub(crate) fn follow(
    project: ProjectId,
    was: bool,
    wanted: bool,
    existing: Option<Resource>,
) -> Result<Option<(Mutation, FieldChange)>, Obstacle> {
    let field = format!("components.{MANAGED_KV_NAME}");
    let shown = |uid: &str| Some(json!({ "uid": uid, "type": MANAGED_KV_TYPE }));
    match (wanted, existing) {
        (true, None) => {
            let create = kv_store(project).map_err(Obstacle::Invalid)?;
            let after = shown(&create.uid);
            let change = FieldChange {
                field,
                before: None,
                after,
            };
            Ok(Some((Mutation::Create(create), change)))
        }
        (true, Some(found)) if found.deleted_at.is_some() => Err(Obstacle::Deleting),
        (true, Some(_)) if was => Ok(None),
        (true, Some(found)) if !is_kv_store(&found) => Err(Obstacle::Taken),
        (true, Some(found)) => {
            let change = FieldChange {
                field,
                before: shown(&found.uid),
                after: shown(&found.uid),
            };
            // Nothing changes but the generation: whoever is about to delete it as their own is told that it changed.
            let update = Update {
                uid: found.uid,
                generation: found.generation,
                content: found.content,
                labels: found.labels,
                annotations: found.annotations,
                sealed: vec![],
                forgotten: vec![],
            };
            Ok(Some((Mutation::Update(update), change)))
        }
        (false, Some(found)) if was && found.deleted_at.is_none() => {
            let change = FieldChange {
                field,
                before: shown(&found.uid),
                after: None,
            };
            let delete = Mutation::Delete {
                uid: found.uid,
                generation: found.generation,
            };
            Ok(Some((delete, change)))
        }
        (false, _) => Ok(None),
    }
}

fn is_kv_store(found: &Resource) -> bool {
    let kind = found.content.get("spec").and_then(|spec| spec.get("type"));
    kind.and_then(Value::as_str) == Some(MANAGED_KV_TYPE)
}
