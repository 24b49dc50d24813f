//! What is subscribed to, and by which way it was said.
//!
//! One idea: a list for each way, and a bell that wakes the keeper. The application's own word about a topic goes before a
//! declared one; streams stand beside both. Must never start anything by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use palladium_engine_pubsub::Spec;

use crate::bell::Bell;

/// By which way something was subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A resource.
    Declared,
    /// The application's answer when it was asked.
    Programmatic,
    /// A call that lasts.
    Stream,
}

/// The lists.
#[derive(Default)]
pub struct Subscriptions {
    programmatic: ArcSwap<Vec<Spec>>,
    streams: Mutex<BTreeMap<u64, Spec>>,
    next: AtomicU64,
    /// Set when the application is not to be asked.
    unasked: AtomicBool,
    bell: Bell,
}

impl Subscriptions {
    /// Tells the keeper to look again.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Returns when somebody rings, also if that was before.
    pub(super) async fn rung(&self) {
        self.bell.rung().await;
    }

    /// The application is not to be asked what it wants.
    pub fn do_not_ask(&self) {
        self.unasked.store(true, Ordering::Release);
    }

    /// Whether the application is to be asked.
    pub(super) fn asks(&self) -> bool {
        !self.unasked.load(Ordering::Acquire)
    }

    /// What the application said when it was asked.
    pub(super) fn set_programmatic(&self, specs: Vec<Spec>) {
        self.programmatic.store(Arc::new(specs));
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<u64, Spec>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream begins; it is listed as long as the answer lives.
    pub(super) fn stream(&self, spec: Spec) -> Listed<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.streams().insert(id, spec);
        Listed { lists: self, id }
    }

    /// What the application is to receive by calls to it: of one topic the application's own word, else the first
    /// declaration.
    pub(super) fn of_application(&self, declared: &[Spec]) -> Vec<(Spec, Origin)> {
        let mut all: Vec<(Spec, Origin)> = Vec::new();
        let mut places = HashMap::new();
        let programmatic = self.programmatic.load();
        let said = declared.iter().map(|spec| (spec, Origin::Declared));
        for (spec, origin) in said.chain(programmatic.iter().map(|spec| (spec, Origin::Programmatic))) {
            let place = *places.entry(spec.key()).or_insert(all.len());
            match all.get_mut(place) {
                None => all.push((spec.clone(), origin)),
                Some(earlier) if origin == Origin::Programmatic => *earlier = (spec.clone(), origin),
                Some(_) => {}
            }
        }
        all
    }

    /// Everything, for metadata.
    pub fn all(&self, declared: &[Spec]) -> Vec<(Spec, Origin)> {
        let mut all = self.of_application(declared);
        all.extend(self.streams().values().map(|spec| (spec.clone(), Origin::Stream)));
        all
    }
}

/// A stream's place in the list.
pub(super) struct Listed<'a> {
    lists: &'a Subscriptions,
    id: u64,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.lists.streams().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(topic: &str, path: &str) -> Spec {
        Spec {
            pubsub: "ps".into(),
            topic: topic.into(),
            rules: vec![(String::new(), path.into())],
            ..Spec::default()
        }
    }

    #[test]
    fn the_applications_own_word_goes_before_the_first_declaration() {
        let lists = Subscriptions::default();
        lists.set_programmatic(vec![spec("b", "/own"), spec("c", "/own")]);
        let declared = [spec("a", "/1"), spec("a", "/2"), spec("b", "/1")];
        let all = lists.of_application(&declared);
        let paths: Vec<_> = all
            .iter()
            .map(|(spec, origin)| (spec.topic.as_str(), spec.rules[0].1.as_str(), *origin))
            .collect();
        let expected = [
            ("a", "/1", Origin::Declared),
            ("b", "/own", Origin::Programmatic),
            ("c", "/own", Origin::Programmatic),
        ];
        assert_eq!(paths, expected);
        let listed = lists.stream(spec("a", "/"));
        assert_eq!(lists.all(&declared).len(), 4);
        drop(listed);
        assert_eq!(lists.all(&declared).len(), 3);
    }
}
