//! All objects of the region in memory: what was said last, and what is in force.
//!
//! The one idea: `latest` is what the control plane said, `admitted` what this region does. They differ while a generation
//! is held or rejected. Pure data: must never do I/O.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use palladium_kinds::project::ScopesDefault;
use palladium_proto::region::{LogHeader, Op};

use super::admit::{Admitted, Refused, admit};
use super::verify::Object;
use crate::guard_rails::GuardRails;

/// What was made of an object's newest generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Admitted,
    Refused(Refused),
}

/// One object.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) header: LogHeader,
    payload: Bytes,
    pub(crate) judgement: Judgement,
    /// The last admitted generation.
    pub(crate) admitted: Option<Arc<Admitted>>,
}

/// All objects by uid.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desired {
    objects: BTreeMap<String, Entry>,
}

impl Desired {
    /// Takes in one accepted log entry. Returns the object that a deletion removed.
    pub(crate) fn apply(&mut self, header: LogHeader, payload: Bytes, rails: &GuardRails) -> Option<Entry> {
        if header.op() == Op::Delete {
            return self.objects.remove(&header.uid);
        }
        let admitted = self.judge(&header, &payload, rails);
        let before = self.objects.get(&header.uid).and_then(|entry| entry.admitted.clone());
        let uid = header.uid.clone();
        let entry = match admitted {
            Ok(admitted) => Entry {
                header,
                payload,
                judgement: Judgement::Admitted,
                admitted: Some(Arc::new(admitted)),
            },
            Err(refused) => Entry {
                header,
                payload,
                judgement: Judgement::Refused(refused),
                admitted: before,
            },
        };
        self.objects.insert(uid, entry);
        None
    }

    /// Takes in a whole snapshot. Returns the objects that are not in it any more.
    pub(crate) fn replace(&mut self, objects: Vec<Object>, rails: &GuardRails) -> Vec<Entry> {
        let gone: Vec<String> = {
            let kept: std::collections::HashSet<&str> = objects.iter().map(|(header, _)| header.uid.as_str()).collect();
            self.objects
                .keys()
                .filter(|uid| !kept.contains(uid.as_str()))
                .cloned()
                .collect()
        };
        let gone = gone.iter().filter_map(|uid| self.objects.remove(uid)).collect();
        for (header, payload) in objects {
            self.apply(header, payload, rails);
        }
        gone
    }

    /// Judges everything again, after the guard rails changed.
    pub(crate) fn judge_again(&mut self, rails: &GuardRails) {
        let all: Vec<Object> = self
            .objects
            .values()
            .map(|entry| (entry.header.clone(), entry.payload.clone()))
            .collect();
        for (header, payload) in all {
            self.apply(header, payload, rails);
        }
    }

    fn judge(&self, header: &LogHeader, payload: &Bytes, rails: &GuardRails) -> Result<Admitted, Refused> {
        let foreign = |message: &str| Refused {
            held: false,
            reason: "ForeignObject",
            message: message.to_owned(),
            field: "metadata".to_owned(),
        };
        if let Some(known) = self.objects.get(&header.uid).map(|entry| &entry.header)
            && (&known.kind, &known.project_id, &known.name) != (&header.kind, &header.project_id, &header.name)
        {
            return Err(foreign(
                "this uid belongs to an object of another kind, project or name",
            ));
        }
        if self.objects.values().any(|other| {
            other.header.uid != header.uid
                && (&other.header.kind, &other.header.project_id, &other.header.name)
                    == (&header.kind, &header.project_id, &header.name)
        }) {
            return Err(foreign("another object has this name; it must be deleted first"));
        }
        admit(header, payload, rails)
    }

    /// All objects.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.objects.iter().map(|(uid, entry)| (uid.as_str(), entry))
    }

    /// One object.
    pub(crate) fn entry(&self, uid: &str) -> Option<&Entry> {
        self.objects.get(uid)
    }

    /// Everything in force.
    pub(crate) fn admitted(&self) -> impl Iterator<Item = &Arc<Admitted>> {
        self.objects.values().filter_map(|entry| entry.admitted.as_ref())
    }

    /// An App ID in force, by the two names in its SPIFFE ID.
    pub(crate) fn app(&self, project_id: &str, app_id: &str) -> Option<&Arc<Admitted>> {
        self.admitted()
            .find(|object| object.app().is_some() && object.meta.project_id == project_id && object.meta.name == app_id)
    }

    /// The App IDs of a project.
    pub(crate) fn apps<'a>(&'a self, project_id: &'a str) -> impl Iterator<Item = &'a Arc<Admitted>> {
        self.admitted()
            .filter(move |object| object.app().is_some() && object.meta.project_id == project_id)
    }

    /// The project in force with this id.
    pub(crate) fn project(&self, project_id: &str) -> Option<&Arc<Admitted>> {
        self.admitted()
            .find(|object| object.project().is_some() && object.meta.project_id == project_id)
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
    pub(crate) fn components_of<'a>(
        &'a self,
        project_id: &'a str,
        app_id: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Admitted>> {
        self.admitted().filter(move |object| {
            object.component().is_some() && object.meta.project_id == project_id && self.in_scope(object, app_id)
        })
    }
}
