//! Questions about what is in force, by the names that those who ask have.
//!
//! One idea: a name leads to at most one object, the one in force. Must never answer with what was refused.

use std::sync::Arc;

use palladium_kinds::project::ScopesDefault;

use super::{Desired, Entry, PROJECT};
use crate::desired::Admitted;

impl Desired {
    /// All objects.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.objects.iter().map(|(uid, entry)| (uid.as_str(), entry))
    }

    /// One object.
    pub(crate) fn entry(&self, uid: &str) -> Option<&Entry> {
        self.objects.get(uid)
    }

    /// Everything in force, ordered by kind, project and name.
    pub(crate) fn admitted(&self) -> impl Iterator<Item = &Arc<Admitted>> {
        self.names.values().filter_map(|uid| self.objects.get(uid)?.admitted())
    }

    pub(super) fn named(&self, kind: &str, project_id: &str, name: &str) -> Option<&Arc<Admitted>> {
        let uid = self
            .names
            .get(&(kind.to_owned(), project_id.to_owned(), name.to_owned()))?;
        self.objects.get(uid)?.admitted()
    }

    fn of_project(&self, kind: &str, project_id: &str) -> impl Iterator<Item = &Arc<Admitted>> {
        let first = (kind.to_owned(), project_id.to_owned(), String::new());
        let (kind, project_id) = (first.0.clone(), first.1.clone());
        self.names
            .range(first..)
            .take_while(move |((of_kind, of_project, _), _)| *of_kind == kind && *of_project == project_id)
            .filter_map(|(_, uid)| self.objects.get(uid)?.admitted())
    }

    /// An App ID in force, by the two names in its SPIFFE ID.
    pub(crate) fn app(&self, project_id: &str, app_id: &str) -> Option<&Arc<Admitted>> {
        self.named("AppIdentity", project_id, app_id)
    }

    /// The App IDs of a project.
    pub(crate) fn apps(&self, project_id: &str) -> impl Iterator<Item = &Arc<Admitted>> {
        self.of_project("AppIdentity", project_id)
    }

    /// The project in force with this id.
    pub(crate) fn project(&self, project_id: &str) -> Option<&Arc<Admitted>> {
        self.named(PROJECT, project_id, "")
    }

    /// Whether `app_id` may use a component of its own project.
    pub(crate) fn in_scope(&self, component: &Admitted, app_id: &str) -> bool {
        let Some(content) = component.component() else {
            return false;
        };
        if content.scopes.is_empty() {
            let project = self.project(&component.meta.project_id);
            // A project that is not known yet is treated as the stricter one.
            return project
                .and_then(|project| project.project())
                .is_some_and(|project| project.component_scopes_default == ScopesDefault::Allow);
        }
        content.scopes.iter().any(|scope| scope == app_id)
    }

    /// The components that an App ID may use.
    pub(crate) fn components_of(&self, project_id: &str, app_id: &str) -> impl Iterator<Item = &Arc<Admitted>> {
        self.of_project("Component", project_id)
            .filter(move |component| self.in_scope(component, app_id))
    }
}
