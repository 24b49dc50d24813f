//! Keeps the open components equal to those that are declared.
//!
//! One idea: a component is opened again exactly when its declaration has changed; what could not be opened is tried again
//! at the next look. A component that fails never takes another one down. Must never close one before what takes its place
//! is in use.

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use palladium_tasks::Tasks;

use crate::closing;
use crate::components::{LoadError, Opened, Opener, is_secret_store};
use crate::entry::Entry;
use crate::resources::{Component, HttpEndpoint, Subscription};
use crate::server::{Components, Server};

/// The components of one Dapr Server.
pub(crate) struct Loader {
    server: Arc<Server>,
    opener: Opener,
    /// By name: components have different names.
    loaded: BTreeMap<String, Loaded>,
    subscriptions: Vec<Subscription>,
    /// Components on their way out; what is still there at the end is ended with the process.
    closing: Tasks,
}

/// What is loaded under one name.
pub(crate) struct Loaded {
    /// As it was declared.
    pub(crate) declared: Component,
    outcome: Result<Opened, LoadError>,
}

impl Loaded {
    /// Why it is not open; `None` = it is.
    pub(crate) fn failure(&self) -> Option<&LoadError> {
        self.outcome.as_ref().err()
    }

    fn into_entry(self) -> Option<Entry> {
        match self.outcome {
            Ok(Opened::Ready(entry, _)) => Some(entry),
            Ok(Opened::Unavailable(_)) | Err(_) => None,
        }
    }
}

impl Loader {
    /// Nothing is loaded yet.
    pub(crate) fn new(server: Arc<Server>, opener: Opener) -> Self {
        Self {
            server,
            opener,
            loaded: BTreeMap::new(),
            subscriptions: Vec::new(),
            closing: Tasks::new(),
        }
    }

    /// Opens what is new or changed, lets go what is gone, and puts it all into use.
    pub(crate) async fn load(&mut self, declared: Vec<Component>, subscriptions: Vec<Subscription>) {
        let mut old = std::mem::take(&mut self.loaded);
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        for component in declared {
            match old.remove(&component.name) {
                Some(kept) if kept.declared.digest == component.digest && kept.outcome.is_ok() => {
                    self.loaded.insert(component.name, kept);
                }
                replaced => {
                    self.opener.secrets.remove(&component.name);
                    gone.extend(replaced.and_then(Loaded::into_entry));
                    new.push(component);
                }
            }
        }
        // Secret stores first: they resolve what others refer to. Then side by side: one that hangs until its time is over
        // holds up no other.
        let (stores, others): (Vec<_>, Vec<_>) =
            new.into_iter().partition(|component| is_secret_store(&component.kind));
        for new in [stores, others] {
            let opened = join_all(new.into_iter().map(|component| self.open(component))).await;
            let named = opened.into_iter().map(|one| (one.declared.name.clone(), one));
            self.loaded.extend(named);
        }
        for (name, removed) in old {
            tracing::info!(component = name, "component removed");
            self.opener.secrets.remove(&name);
            gone.extend(removed.into_entry());
        }
        self.subscriptions = in_order(&self.subscriptions, subscriptions);
        self.publish();
        for entry in gone {
            self.closing.spawn("component-close", closing::retire(entry));
        }
    }

    /// Fills in what HTTP endpoints have in the secret stores that are loaded.
    pub(crate) async fn complete(&self, endpoints: &mut [HttpEndpoint]) {
        self.opener.complete(endpoints).await;
    }

    /// What became of each, by name.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = &Loaded> {
        self.loaded.values()
    }

    async fn open(&self, component: Component) -> Loaded {
        // A driver that panics on its metadata must not end whoever keeps all of them.
        let opened = AssertUnwindSafe(self.opener.open(&component, &self.server.metrics)).catch_unwind();
        let outcome = match opened.await.unwrap_or(Err(LoadError::Panicked)) {
            Ok(Opened::Unavailable(_)) if self.server.hosted => Err(LoadError::Later(component.kind.clone())),
            outcome => outcome,
        };
        let name = component.log_name();
        match &outcome {
            Ok(Opened::Ready(..)) => tracing::info!("Component loaded: {name}"),
            Ok(Opened::Unavailable(_)) => tracing::warn!("Component {name} is registered but cannot be used yet"),
            Err(error) => tracing::warn!("Component {name} cannot be loaded: {error}"),
        }
        Loaded {
            declared: component,
            outcome,
        }
    }

    fn publish(&self) {
        let (mut entries, mut registered) = (Vec::new(), Vec::new());
        for opened in self.loaded.values().filter_map(|loaded| loaded.outcome.as_ref().ok()) {
            match opened {
                Opened::Ready(entry, about) => {
                    entries.push(entry.clone());
                    registered.push(about.clone());
                }
                Opened::Unavailable(about) => registered.push(about.clone()),
            }
        }
        let components = Components::new(entries, registered, self.subscriptions.clone());
        self.server.components.store(Arc::new(components));
        self.server.subscriptions.ring();
        self.server.bindings.ring();
    }
}

/// Those that there were, where they were; then the new ones.
fn in_order(old: &[Subscription], new: Vec<Subscription>) -> Vec<Subscription> {
    let known: HashSet<&Subscription> = old.iter().collect();
    let (mut fresh, mut kept) = (Vec::new(), HashSet::new());
    for one in new {
        if known.contains(&one) {
            kept.insert(one);
        } else {
            fresh.push(one);
        }
    }
    let kept = old.iter().filter(|one| kept.contains(*one)).cloned();
    kept.chain(fresh).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_keep_their_places() {
        let one = |topic: &str| Subscription {
            topic: topic.to_owned(),
            ..Subscription::default()
        };
        let topics = |list: &[Subscription]| list.iter().map(|one| one.topic.clone()).collect::<Vec<_>>();
        let old = [one("a"), one("b"), one("c")];
        let now = in_order(&old, vec![one("d"), one("c"), one("a")]);
        assert_eq!(topics(&now), ["a", "c", "d"]);
        assert_eq!(topics(&in_order(&now, vec![])), Vec::<String>::new());
    }
}
