//! All objects of the region in memory: what was said last, and what is in force.
//!
//! The one idea: the newest generation is judged; if it may be, it comes into force, and if not, what was in force stays,
//! as long as the guard rails still allow that. Pure data: must never do I/O.

mod lookup;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
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
/// Reasons that may be gone when another object changes.
const FOREIGN_PROJECT: &str = "ForeignProject";
const CYCLIC_REFERENCE: &str = "CyclicReference";
/// How often what waits for each other is judged anew at one change. More is nobody's honest doing.
const ROUNDS: usize = 8;

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
    /// Takes in one accepted log entry. Answers whether others came into force by it.
    pub(crate) fn apply(&mut self, header: LogHeader, payload: Bytes, rules: Rules<'_>) -> bool {
        if header.op() == Op::Delete {
            self.remove(&header.uid);
        } else {
            self.put(header, payload, rules);
        }
        self.settle(rules)
    }

    fn put(&mut self, header: LogHeader, payload: Bytes, rules: Rules<'_>) {
        let before = self.objects.get(&header.uid).and_then(|entry| entry.in_force.clone());
        let known = self.objects.get(&header.uid).map_or((0, 0), |entry| entry.newest);
        let newest = if is_older(age(&header), known) {
            known
        } else {
            age(&header)
        };
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
    }

    /// Judges again what was refused because of others: its project was not there yet, or a circle is open now. Answers
    /// whether any of it came into force.
    pub(crate) fn settle(&mut self, rules: Rules<'_>) -> bool {
        let mut settled = false;
        for _ in 0..ROUNDS {
            let waiting = self.waiting();
            let before = waiting.len();
            for (header, payload) in waiting {
                self.put(header, payload, rules);
            }
            if before == 0 || self.waiting().len() == before {
                break;
            }
            settled = true;
        }
        settled
    }

    fn waiting(&self) -> Vec<Object> {
        let waits = |entry: &&Entry| {
            let judged = &entry.judgement;
            matches!(judged, Judgement::Refused(refused) if [FOREIGN_PROJECT, CYCLIC_REFERENCE].contains(&refused.reason))
        };
        let waiting = self.objects.values().filter(waits);
        waiting
            .map(|entry| (entry.header.clone(), entry.payload.clone()))
            .collect()
    }

    /// Takes in a whole snapshot. Returns the objects that are not in it any more.
    pub(crate) fn replace(&mut self, objects: Vec<Object>, rules: Rules<'_>) -> Vec<Entry> {
        let kept: HashSet<&str> = objects.iter().map(|(header, _)| header.uid.as_str()).collect();
        let gone: Vec<String> = self
            .objects
            .keys()
            .filter(|uid| !kept.contains(uid.as_str()))
            .cloned()
            .collect();
        let gone = gone.iter().filter_map(|uid| self.remove(uid)).collect();
        for (header, payload) in objects {
            self.put(header, payload, rules);
        }
        self.settle(rules);
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
            self.put(header, payload, rules);
        }
        self.settle(rules);
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
                return Err(Refused::rejected(CYCLIC_REFERENCE, message, "auth.secretStore"));
            }
            next = self
                .named("Component", &admitted.meta.project_id, &store)
                .and_then(|found| store_of(found));
        }
        Ok(())
    }
}
