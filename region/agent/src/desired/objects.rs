//! All objects of the region in memory: what was said last, and what is in force.
//!
//! The one idea: the newest generation is judged; if it may be, it comes into force, and if not, what was in force stays,
//! as long as the guard rails still allow that. Pure data: must never do I/O.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use palladium_kinds::project::ScopesDefault;
use palladium_kinds::secret_ref::MANAGED_STORE;
use palladium_proto::region::{LogHeader, Op};

use super::admit::{Admitted, Refused, admit};
use super::verify::Object;
use crate::guard_rails::GuardRails;
use crate::secrets::Secrets;

/// What an object is judged by.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) rails: &'a GuardRails,
    pub(crate) secrets: &'a Secrets,
}

impl Rules<'_> {
    /// The object may be in force by itself, and sends no kept secret elsewhere.
    fn admit(self, header: &LogHeader, payload: &[u8]) -> Result<Admitted, Refused> {
        let admitted = admit(header, payload, self.rails)?;
        if !self.rails.allow.secret_read_back.component_secrets
            && let Some(field) = self.secrets.redirected(&admitted)
        {
            let message = "it points elsewhere than where this secret was entered for; enter the secret again with the change \
                           (or allow.secretReadBack.componentSecrets)";
            return Err(Refused::held(message, field));
        }
        Ok(admitted)
    }
}

const PROJECT: &str = "Project";
const FOREIGN_PROJECT: &str = "ForeignProject";

fn older() -> Refused {
    let message = "an older generation than the region has of it";
    Refused::rejected("RolledBack", message, "metadata.generation")
}

/// What was made of an object's newest generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Admitted,
    Refused(Refused),
}

/// A generation that this region makes true, with the bytes that it was told in.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    pub(crate) object: Object,
    pub(crate) admitted: Arc<Admitted>,
}

/// One object.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) header: LogHeader,
    payload: Bytes,
    pub(crate) judgement: Judgement,
    pub(crate) in_force: Option<InForce>,
    /// The highest generation that was said, in its epoch: what is older comes from no honest control plane.
    newest: Age,
}

/// Epoch and generation. A new epoch is a restored database, which the region's owner has confirmed: there generations may
/// be lower.
type Age = (u64, u64);

fn age(header: &LogHeader) -> Age {
    (header.epoch, header.generation)
}

fn is_older(age: Age, newest: Age) -> bool {
    age.0 <= newest.0 && age.1 < newest.1
}

impl Entry {
    /// What is in force, if anything.
    pub(crate) fn admitted(&self) -> Option<&Arc<Admitted>> {
        self.in_force.as_ref().map(|in_force| &in_force.admitted)
    }
}

/// Kind, project id, name; a project has no second name beside its id.
type Key = (String, String, String);

fn key(header: &LogHeader) -> Key {
    let name = if header.kind == PROJECT {
        String::new()
    } else {
        header.name.clone()
    };
    (header.kind.clone(), header.project_id.clone(), name)
}

/// All objects by uid, and the names in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desired {
    objects: HashMap<String, Entry>,
    names: BTreeMap<Key, String>,
}

impl Desired {
    /// Takes in one accepted log entry. Returns the object that a deletion removed.
    pub(crate) fn apply(&mut self, header: LogHeader, payload: Bytes, rules: Rules<'_>) -> Option<Entry> {
        if header.op() == Op::Delete {
            return self.remove(&header.uid);
        }
        let before = self.objects.get(&header.uid).and_then(|entry| entry.in_force.clone());
        let known = self.objects.get(&header.uid).map_or((0, 0), |entry| entry.newest);
        let newest = if is_older(age(&header), known) {
            known
        } else {
            age(&header)
        };
        // Judged without it; see below.
        let arrives = header.kind == PROJECT && self.project(&header.project_id).is_none();
        let project_id = header.project_id.clone();
        let (judgement, in_force) = match self.judge(&header, &payload, before.as_ref(), newest, rules) {
            Ok(admitted) => {
                self.names.insert(key(&header), header.uid.clone());
                let object = (header.clone(), payload.clone());
                (
                    Judgement::Admitted,
                    Some(InForce {
                        object,
                        admitted: Arc::new(admitted),
                    }),
                )
            }
            Err(refused) => (Judgement::Refused(refused), before),
        };
        self.objects.insert(
            header.uid.clone(),
            Entry {
                header,
                payload,
                judgement,
                in_force,
                newest,
            },
        );
        if arrives && self.project(&project_id).is_some() {
            self.judge_project(&project_id, rules);
        }
        None
    }

    /// Judges again what was refused because its project was not there yet.
    fn judge_project(&mut self, project_id: &str, rules: Rules<'_>) {
        let waits = |entry: &&Entry| {
            let judged = &entry.judgement;
            matches!(judged, Judgement::Refused(refused) if refused.reason == FOREIGN_PROJECT)
                && entry.header.project_id == project_id
        };
        let waiting: Vec<Object> = self
            .objects
            .values()
            .filter(waits)
            .map(|entry| (entry.header.clone(), entry.payload.clone()))
            .collect();
        for (header, payload) in waiting {
            self.apply(header, payload, rules);
        }
    }

    /// Takes in a whole snapshot. Returns the objects that are not in it any more.
    pub(crate) fn replace(&mut self, mut objects: Vec<Object>, rules: Rules<'_>) -> Vec<Entry> {
        // What they hold is judged by them.
        objects.sort_by_key(|(header, _)| header.kind != PROJECT);
        let kept: HashSet<&str> = objects.iter().map(|(header, _)| header.uid.as_str()).collect();
        let gone: Vec<String> = self
            .objects
            .keys()
            .filter(|uid| !kept.contains(uid.as_str()))
            .cloned()
            .collect();
        let gone = gone.iter().filter_map(|uid| self.remove(uid)).collect();
        for (header, payload) in objects {
            self.apply(header, payload, rules);
        }
        gone
    }

    /// Judges everything again, after the guard rails changed: also what is in force.
    pub(crate) fn judge_again(&mut self, rules: Rules<'_>) {
        let all: Vec<Object> = self
            .objects
            .values()
            .map(|entry| (entry.header.clone(), entry.payload.clone()))
            .collect();
        for entry in self.objects.values_mut() {
            let stays = |in_force: &InForce| rules.admit(&in_force.object.0, &in_force.object.1).is_ok();
            if !entry.in_force.as_ref().is_none_or(stays)
                && let Some(over) = entry.in_force.take()
            {
                self.names.remove(&key(&over.object.0));
            }
        }
        for (header, payload) in all {
            self.apply(header, payload, rules);
        }
    }

    /// Puts a kept generation back into force, for an object whose newest one is refused (after a restart), and for one that
    /// was rolled back behind it.
    pub(crate) fn restore(&mut self, (header, payload): Object, rules: Rules<'_>) {
        let Some(entry) = self.objects.get_mut(&header.uid) else {
            return;
        };
        let rolled_back = is_older(age(&entry.header), age(&header));
        let free = entry.in_force.is_none()
            && entry.judgement != Judgement::Admitted
            && !self.names.contains_key(&key(&header));
        if !free && !rolled_back {
            return;
        }
        if let Ok(admitted) = rules.admit(&header, &payload) {
            if rolled_back {
                entry.judgement = Judgement::Refused(older());
                entry.newest = age(&header);
                if let Some(over) = entry.in_force.take() {
                    self.names.remove(&key(&over.object.0));
                }
            }
            self.names.insert(key(&header), header.uid.clone());
            entry.in_force = Some(InForce {
                object: (header, payload),
                admitted: Arc::new(admitted),
            });
        }
    }

    fn remove(&mut self, uid: &str) -> Option<Entry> {
        let entry = self.objects.remove(uid)?;
        if let Some(in_force) = &entry.in_force {
            self.names.remove(&key(&in_force.object.0));
        }
        Some(entry)
    }

    fn judge(
        &self,
        header: &LogHeader,
        payload: &Bytes,
        before: Option<&InForce>,
        newest: Age,
        rules: Rules<'_>,
    ) -> Result<Admitted, Refused> {
        let foreign = |message: &str| Refused::rejected("ForeignObject", message, "metadata");
        if is_older(age(header), newest) {
            return Err(older());
        }
        let key = key(header);
        if before.is_some_and(|before| self::key(&before.object.0) != key) {
            return Err(foreign(
                "this uid belongs to an object of another kind, project or name",
            ));
        }
        if self.names.get(&key).is_some_and(|uid| *uid != header.uid) {
            return Err(foreign("another object has this name; it must be deleted first"));
        }
        let admitted = rules.admit(header, payload)?;
        if header.kind != PROJECT && self.project(&header.project_id).is_none() {
            let message = "this region does not serve the project";
            return Err(Refused::rejected(FOREIGN_PROJECT, message, "metadata.projectId"));
        }
        self.check_cycle(&admitted)?;
        Ok(admitted)
    }

    /// Secret stores may need secrets from other secret stores, but none, by whatever way, from itself.
    fn check_cycle(&self, admitted: &Admitted) -> Result<(), Refused> {
        let store_of = |of: &Admitted| {
            let auth = of.component()?.auth.as_ref()?;
            Some(auth.secret_store.clone()).filter(|store| store != MANAGED_STORE)
        };
        let (mut next, mut passed) = (store_of(admitted), HashSet::new());
        while let Some(store) = next {
            // A circle of others cannot be: the last of them was refused. Nothing is walked twice all the same.
            if store == admitted.meta.name || !passed.insert(store.clone()) {
                let message = "its secret store needs, directly or by others, this component to be loaded";
                return Err(Refused::rejected("CyclicReference", message, "auth.secretStore"));
            }
            next = self
                .named("Component", &admitted.meta.project_id, &store)
                .and_then(|found| store_of(found));
        }
        Ok(())
    }

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

    fn named(&self, kind: &str, project_id: &str, name: &str) -> Option<&Arc<Admitted>> {
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
