//! All kinds: one line each.
//!
//! Must never: contain anything but the list and lookups in it.

use crate::action::{Action, organization};
use crate::definition::KindDefinition;
use crate::{app_identity, component, configuration, http_endpoint, project, region, resiliency, subscription};

/// Every kind, in apply order (what others refer to comes first).
pub static KINDS: &[&KindDefinition] = &[
    &region::KIND,
    &project::KIND,
    &configuration::KIND,
    &component::KIND,
    &subscription::KIND,
    &resiliency::KIND,
    &http_endpoint::KIND,
    &app_identity::KIND,
];

/// The kind with this name (`AppIdentity`).
pub fn by_kind(kind: &str) -> Option<&'static KindDefinition> {
    KINDS.iter().copied().find(|definition| definition.kind == kind)
}

/// Every action that exists, for policy, role matrix and audit.
pub fn actions() -> Vec<&'static Action> {
    let mut all = Vec::new();
    for kind in KINDS {
        let crud = &kind.crud;
        all.extend(
            [
                Some(crud.list),
                Some(crud.get),
                crud.read_sensitive,
                crud.create,
                crud.update,
                crud.delete,
            ]
            .into_iter()
            .flatten(),
        );
        all.extend(kind.actions);
    }
    all.extend(organization::ALL);
    all
}

#[cfg(test)]
mod tests;
