//! Keeps the open components equal to those that are declared.
//!
//! One idea: a component is opened again exactly when its declaration has changed; what could not be opened is tried again
//! at the next look. A component that fails never takes another one down. Must never close one before what takes its place
//! is in use.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use palladium_tasks::Tasks;

use crate::closing;
use crate::components::{Opened, Opener, is_secret_store};
use crate::entry::Entry;
use crate::resources::{Component, Subscription};
use crate::server::{Components, Registered, Server};

/// Tells one declaration of a component from another.
pub(crate) type Digest = [u8; 32];

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
    digest: Digest,
    /// Immutable id of the component; empty outside of platform mode.
    pub(crate) uid: String,
    /// Version of its declaration.
    pub(crate) generation: u64,
    outcome: Result<(Entry, Registered), String>,
}

impl Loaded {
    /// Why it is not open; `None` = it is.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.outcome.as_ref().err().map(String::as_str)
    }

    fn into_entry(self) -> Option<Entry> {
        Some(self.outcome.ok()?.0)
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
    pub(crate) async fn load(&mut self, declared: Vec<(Component, Digest)>, subscriptions: Vec<Subscription>) {
        let mut old = std::mem::take(&mut self.loaded);
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        for (component, digest) in declared {
            match old.remove(&component.name) {
                Some(kept) if kept.digest == digest && kept.outcome.is_ok() => {
                    self.loaded.insert(component.name, kept);
                }
                replaced => {
                    gone.extend(replaced.and_then(Loaded::into_entry));
                    new.push((component, digest));
                }
            }
        }
        // Secret stores first: they resolve what others refer to. Then side by side: one that hangs until its time is over
        // holds up no other.
        let (stores, others): (Vec<_>, Vec<_>) = new
            .into_iter()
            .partition(|(component, _)| is_secret_store(&component.kind));
        for new in [stores, others] {
            let opened = join_all(new.iter().map(|(component, digest)| self.open(component, *digest))).await;
            self.loaded
                .extend(new.into_iter().map(|(component, _)| component.name).zip(opened));
        }
        for (name, removed) in old {
            tracing::info!(component = name, "component removed");
            self.opener.secrets.remove(&name);
            gone.extend(removed.into_entry());
        }
        self.subscriptions = subscriptions;
        self.publish();
        for entry in gone {
            self.closing.spawn("component-close", closing::retire(entry));
        }
    }

    /// What became of each, by name.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = (&str, &Loaded)> {
        self.loaded.iter().map(|(name, loaded)| (name.as_str(), loaded))
    }

    async fn open(&self, component: &Component, digest: Digest) -> Loaded {
        let outcome = match self.opener.open(component, &self.server.metrics).await {
            Ok(Opened::Ready(entry, about)) => {
                tracing::info!("Component loaded: {}", component.log_name());
                Ok((entry, about))
            }
            Ok(Opened::Unavailable(_)) => Err(format!("components of type {} cannot be used yet", component.kind)),
            Err(error) => Err(error.to_string()),
        };
        if let Err(message) = &outcome {
            tracing::warn!("Component {} cannot be loaded: {message}", component.log_name());
        }
        Loaded {
            digest,
            uid: component.uid.clone(),
            generation: component.generation,
            outcome,
        }
    }

    fn publish(&self) {
        let good = self.loaded.values().filter_map(|loaded| loaded.outcome.as_ref().ok());
        let (entries, registered): (Vec<_>, Vec<_>) = good.cloned().unzip();
        let components = Components::new(entries, registered, self.subscriptions.clone());
        self.server.components.store(Arc::new(components));
        self.server.subscriptions.ring();
        self.server.bindings.ring();
    }
}
