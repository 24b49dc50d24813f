//! Who takes the records of which topic.
//!
//! One idea: takers come and go while the group goes on; a record waits here until somebody takes it. Must never forget a topic
//! while one of its records is with a taker: that one may still be settled.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use krafka::ConsumerRecord;
use palladium_component::reply::BoxFuture;
use tokio::sync::watch;

use crate::{Ending, Taker};

/// How long a record may still be settled after its taker has left.
const LINGER: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Route {
    takers: Vec<(u64, Arc<dyn Taker>)>,
    /// Since when there is none.
    left: Option<Instant>,
}

#[derive(Default)]
struct Inner {
    routes: HashMap<String, Route>,
    next: u64,
    paused: bool,
}

/// All takers.
pub(crate) struct Routes {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

impl Routes {
    pub(crate) fn new() -> Self {
        Routes {
            inner: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// A panic under this lock leaves a map that is still whole.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a taker of topics; gives back its number.
    pub(crate) fn add(&self, topics: &[String], taker: &Arc<dyn Taker>) -> u64 {
        let mut inner = self.inner();
        inner.next += 1;
        let number = inner.next;
        for topic in topics {
            let route = inner.routes.entry(topic.clone()).or_default();
            route.takers.push((number, taker.clone()));
            route.left = None;
        }
        drop(inner);
        self.changed.send_replace(());
        number
    }

    /// Removes a taker.
    pub(crate) fn remove(&self, number: u64) {
        let mut inner = self.inner();
        for route in inner.routes.values_mut() {
            route.takers.retain(|(other, _)| *other != number);
            if route.takers.is_empty() && route.left.is_none() {
                route.left = Some(Instant::now());
            }
        }
        drop(inner);
        self.changed.send_replace(());
    }

    /// Removes all: nobody takes anything any more.
    pub(crate) fn clear(&self) {
        self.inner().routes.clear();
        self.changed.send_replace(());
    }

    /// Hands nothing out from now on.
    pub(crate) fn pause(&self) {
        self.inner().paused = true;
    }

    /// The topics that are to be received; `busy` says of one whether a record of it is with a taker.
    pub(crate) fn topics(&self, busy: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let mut inner = self.inner();
        inner.routes.retain(|topic, route| match route.left {
            Some(left) => left.elapsed() < LINGER && busy(topic),
            None => true,
        });
        inner.routes.keys().cloned().collect()
    }

    /// Told when takers come or go.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// One of several takers of a topic has a partition as long as they are the same.
    fn taker(&self, record: &ConsumerRecord) -> Option<(u64, Arc<dyn Taker>)> {
        let inner = self.inner();
        if inner.paused {
            return None;
        }
        let takers = &inner.routes.get(&*record.topic)?.takers;
        let partition = usize::try_from(record.partition).unwrap_or_default();
        takers.get(partition.checked_rem(takers.len())?).cloned()
    }

    /// Hands a record over, waiting for somebody who takes it; gives back how it will end.
    pub(crate) async fn hand_over(&self, record: &ConsumerRecord) -> BoxFuture<'static, Ending> {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            match self.taker(record) {
                Some((number, taker)) => match taker.take(record).await {
                    Some(ending) => return ending,
                    None => self.remove(number),
                },
                // The sender lives as long as this does.
                None => _ = changes.changed().await,
            }
        }
    }
}
