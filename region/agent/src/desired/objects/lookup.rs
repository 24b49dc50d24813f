//! Questions about what is in force, by the names that those who ask have.
//!
//! One idea: a name leads to at most one object, the one in force. Must never answer with what was refused.

use std::sync::Arc;

use palladium_kinds::project::ScopesDefault;

use super::{Desired, Entry, PROJECT};
use crate::desired::{Admitted, Content};

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

    /// Whether `app_id` is given an object of its own project: by the object's scopes; a configuration, when it names it.
    pub(crate) fn in_scope(&self, object: &Admitted, app_id: &str) -> bool {
        let project_id = &object.meta.project_id;
        let Some(scopes) = object.scopes() else {
            let app = self.app(project_id, app_id).and_then(|app| app.app());
            let named = app.is_some_and(|app| app.app_config == object.meta.name);
            return named && matches!(object.content, Content::Configuration(_));
        };
        // Empty scopes are everybody, as in Dapr; what leads out of the project can be closed by the project.
        let closable = matches!(object.content, Content::Component(_) | Content::HttpEndpoint(_));
        if scopes.is_empty() && closable {
            let project = self.project(project_id);
            // A project that is not known yet is treated as the stricter one.
            return project
                .and_then(|project| project.project())
                .is_some_and(|project| project.component_scopes_default == ScopesDefault::Allow);
        }
        scopes.is_empty() || scopes.iter().any(|scope| scope == app_id)
    }

    /// The objects of one kind that an App ID is given.
    pub(crate) fn given(&self, kind: &str, project_id: &str, app_id: &str) -> impl Iterator<Item = &Arc<Admitted>> {
        self.of_project(kind, project_id)
            .filter(move |object| self.in_scope(object, app_id))
    }

    /// The App IDs that are given an object.
    pub(crate) fn users(&self, object: &Admitted) -> Vec<String> {
        let apps = self.apps(&object.meta.project_id).map(|app| &app.meta.name);
        apps.filter(|name| self.in_scope(object, name)).cloned().collect()
    }
}
