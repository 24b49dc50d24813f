//! What all listeners and building blocks of one Dapr Server share.
//!
//! One idea: requests only read; what can change (components, rules, tokens, the application's endpoint) is replaced as a whole
//! behind an [`ArcSwap`], so that no request ever waits for a lock. Must never do an API's work itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderMap;
use palladium_component::{Conversation, CryptoProvider, SecretStore};
use palladium_engine_pubsub::Outbox;
use palladium_engine_state::{ApiError, StateComponent, Stores};
use palladium_http::Budget;
use palladium_tasks::Shutdown;

use crate::app_channel::AppChannel;
use crate::auth::Auth;
use crate::bell::Bell;
use crate::config::AppSettings;
use crate::cors::Cors;
use crate::entry::{BindingEntry, Block, ConfigurationEntry, Entry, LockEntry};
use crate::invoke::Invoke;
use crate::metrics::{Metrics, StateMetrics, StateOperation};
use crate::outbox::UnderWay;
use crate::pipeline::Piece;
use crate::pubsub::{PubsubEntry, Subscriptions};
use crate::ready::Readiness;
use crate::resiliency::Policies;
use crate::resources::{Configuration, Subscription};
use crate::rules::Rules;
use crate::secrets::Secrets;
use crate::trace::{Tracing, TracingError};

/// One Dapr Server.
pub struct Server {
    /// The App ID that it serves.
    pub app_id: String,
    /// Dapr's namespace; in platform mode the project id.
    pub namespace: String,
    /// Whether it runs for tenants: some calls are refused there.
    pub hosted: bool,
    /// The loaded components.
    pub components: ArcSwap<Components>,
    /// The application, once it can be called.
    pub app: ArcSwapOption<AppChannel>,
    /// What is subscribed to beside what is declared.
    pub subscriptions: Subscriptions,
    /// How to call other App IDs.
    pub invoke: Invoke,
    /// How to reach the application, as metadata tells it.
    pub app_settings: ArcSwap<AppSettings>,
    /// Who may call.
    pub auth: Auth,
    /// Answers for browsers, if configured.
    pub cors: Option<Cors>,
    /// What its Configuration says.
    pub rules: ArcSwap<Rules>,
    /// How calls are repeated, cut short or refused.
    pub resiliency: Policies,
    /// Wakes the keeper of bindings.
    pub bindings: Bell,
    /// Greatest request body in bytes.
    pub max_body: AtomicUsize,
    /// What all calls together may hold of bodies.
    pub budget: Budget,
    /// What callers have set through the metadata API.
    pub extended: Extended,
    /// What is ready.
    pub ready: Readiness,
    /// Metrics.
    pub metrics: Metrics,
    /// Traces.
    pub tracing: Tracing,
    /// Ends the process in order.
    pub shutdown: Shutdown,
    /// Whether the end was asked for without waiting for calls under way.
    pub end_at_once: AtomicBool,
}

/// Says, with the value `true`, that a caller of the shutdown API does not want calls under way to finish.
const FORCE: &str = "dapr-force-shutdown";

impl Server {
    /// The shutdown API: ends the process, in order unless the headers say otherwise.
    ///
    /// # Errors
    /// Words for the caller where the platform decides when this process ends.
    pub fn end(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        if self.hosted {
            return Err("shutdown is not available: the platform decides when this process ends");
        }
        let force = headers
            .get(FORCE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
        tracing::info!(force, "Shutdown requested via API");
        self.end_at_once.store(force, Ordering::Release);
        self.shutdown.trigger();
        Ok(())
    }

    /// Counts and traces calls as a Configuration says, from now on.
    ///
    /// # Errors
    /// When they cannot be traced so; then they are as before.
    pub fn observe(&self, configuration: &Configuration) -> Result<(), TracingError> {
        self.tracing.apply(&configuration.tracing, &self.app_id, self.hosted)?;
        let mut metrics = configuration.metrics.clone();
        // Whoever runs this for others wants to know.
        metrics.record_error_codes |= self.hosted;
        self.metrics.apply(&metrics);
        Ok(())
    }

    /// Dapr's namespace, never empty.
    pub fn namespace(&self) -> &str {
        or_default(&self.namespace)
    }

    /// Greatest request body in bytes.
    pub fn max_body(&self) -> usize {
        self.max_body.load(Ordering::Relaxed)
    }
}

/// Dapr's namespace by its name, which may be empty.
pub(crate) fn or_default(namespace: &str) -> &str {
    if namespace.is_empty() { "default" } else { namespace }
}

/// The components of one moment.
#[derive(Default)]
pub struct Components {
    state: HashMap<String, Arc<StateEntry>>,
    pubsub: HashMap<String, Arc<PubsubEntry>>,
    secrets: HashMap<String, Arc<Block<dyn SecretStore>>>,
    bindings: HashMap<String, Arc<BindingEntry>>,
    middleware: HashMap<String, Arc<Piece>>,
    conversations: HashMap<String, Arc<Block<dyn Conversation>>>,
    configuration: HashMap<String, Arc<ConfigurationEntry>>,
    locks: HashMap<String, Arc<LockEntry>>,
    crypto: HashMap<String, Arc<Block<dyn CryptoProvider>>>,
    /// Everything that is registered, for metadata.
    pub registered: Vec<Registered>,
    /// Declared subscriptions, for metadata.
    pub subscriptions: Vec<Subscription>,
}

/// A loaded state store with its metrics.
pub struct StateEntry {
    /// The engine's component.
    pub component: Arc<StateComponent>,
    /// Handles for counting.
    pub metrics: StateMetrics,
    /// What its errors must not say.
    pub secrets: Secrets,
    /// What its transactions publish.
    pub outbox: Option<Outbox>,
    /// Which of its promises wait for a transaction of this process.
    pub under_way: UnderWay,
}

impl StateEntry {
    /// Awaits a call of the engine and counts it.
    ///
    /// # Errors
    /// The call's, without the component's secrets.
    pub async fn counted<T>(
        &self,
        operation: StateOperation,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let start = Instant::now();
        let outcome = call.await;
        self.metrics.observe(operation, outcome.is_ok(), start.elapsed());
        outcome.map_err(|error| self.secrets.out_of_call(error))
    }
}

/// A registered component, as metadata tells it.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Its name.
    pub name: String,
    /// Its type, such as `state.redis`.
    pub kind: String,
    /// Its version, such as `v1`.
    pub version: String,
    /// What it can do.
    pub capabilities: Vec<&'static str>,
}

impl Components {
    /// These components, everything registered, and the declared subscriptions.
    pub fn new(entries: Vec<Entry>, registered: Vec<Registered>, subscriptions: Vec<Subscription>) -> Self {
        let mut all = Self {
            registered,
            subscriptions,
            ..Self::default()
        };
        for entry in entries {
            let name = entry.name().to_owned();
            match entry {
                Entry::State(entry) => drop(all.state.insert(name, entry)),
                Entry::Pubsub(entry) => drop(all.pubsub.insert(name, entry)),
                Entry::Secrets(entry) => drop(all.secrets.insert(name, entry)),
                Entry::Binding(entry) => drop(all.bindings.insert(name, entry)),
                Entry::Middleware(entry) => drop(all.middleware.insert(name, entry)),
                Entry::Conversation(entry) => drop(all.conversations.insert(name, entry)),
                Entry::Configuration(entry) => drop(all.configuration.insert(name, entry)),
                Entry::Lock(entry) => drop(all.locks.insert(name, entry)),
                Entry::Crypto(entry) => drop(all.crypto.insert(name, entry)),
            }
        }
        all
    }

    /// The state store of that name; `app_id` only goes into the error.
    pub fn state(&self, name: &str, app_id: &str) -> Result<&Arc<StateEntry>, ApiError> {
        self.state.get(name).ok_or_else(|| {
            let all = Stores::new(self.state.values().map(|entry| entry.component.clone()));
            match all.find(name, app_id) {
                Err(error) => error,
                Ok(_) => ApiError::NotFound {
                    store: name.to_owned(),
                    app_id: app_id.to_owned(),
                },
            }
        })
    }

    /// All state stores.
    pub fn states(&self) -> impl Iterator<Item = &Arc<StateEntry>> {
        self.state.values()
    }

    /// The publish/subscribe component of that name.
    pub fn pubsub(&self, name: &str) -> Option<&Arc<PubsubEntry>> {
        self.pubsub.get(name)
    }

    /// All publish/subscribe components.
    pub fn pubsubs(&self) -> impl Iterator<Item = &Arc<PubsubEntry>> {
        self.pubsub.values()
    }

    /// The secret store of that name.
    pub fn secret_store(&self, name: &str) -> Option<&Arc<Block<dyn SecretStore>>> {
        self.secrets.get(name)
    }

    /// Whether there is any secret store.
    pub fn has_secret_stores(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// The binding of that name.
    pub fn binding(&self, name: &str) -> Option<&Arc<BindingEntry>> {
        self.bindings.get(name)
    }

    /// All bindings.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<BindingEntry>> {
        self.bindings.values()
    }

    /// The piece of a pipeline of that name.
    pub fn middleware(&self, name: &str) -> Option<&Arc<Piece>> {
        self.middleware.get(name)
    }

    /// The conversation component of that name.
    pub fn conversation(&self, name: &str) -> Option<&Arc<Block<dyn Conversation>>> {
        self.conversations.get(name)
    }

    /// The configuration store of that name.
    pub fn configuration_store(&self, name: &str) -> Option<&Arc<ConfigurationEntry>> {
        self.configuration.get(name)
    }

    /// All configuration stores.
    pub fn configuration_stores(&self) -> impl Iterator<Item = &Arc<ConfigurationEntry>> {
        self.configuration.values()
    }

    /// The lock store of that name.
    pub fn lock(&self, name: &str) -> Option<&Arc<LockEntry>> {
        self.locks.get(name)
    }

    /// Whether there is any lock store.
    pub fn has_locks(&self) -> bool {
        !self.locks.is_empty()
    }

    /// The keeper of keys of that name.
    pub fn crypto(&self, name: &str) -> Option<&Arc<Block<dyn CryptoProvider>>> {
        self.crypto.get(name)
    }

    /// Whether there is any keeper of keys.
    pub fn has_crypto(&self) -> bool {
        !self.crypto.is_empty()
    }

    /// All of them.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let state = self.state.values().cloned().map(Entry::State);
        let pubsub = self.pubsub.values().cloned().map(Entry::Pubsub);
        let secrets = self.secrets.values().cloned().map(Entry::Secrets);
        let bindings = self.bindings.values().cloned().map(Entry::Binding);
        let middleware = self.middleware.values().cloned().map(Entry::Middleware);
        let conversations = self.conversations.values().cloned().map(Entry::Conversation);
        let configuration = self.configuration.values().cloned().map(Entry::Configuration);
        let locks = self.locks.values().cloned().map(Entry::Lock);
        let crypto = self.crypto.values().cloned().map(Entry::Crypto);
        state
            .chain(pubsub)
            .chain(secrets)
            .chain(bindings)
            .chain(middleware)
            .chain(conversations)
            .chain(configuration)
            .chain(locks)
            .chain(crypto)
    }
}

/// Names and values that callers attach to the sidecar's metadata. Bounded: it is a caller's memory, not ours.
#[derive(Default)]
pub struct Extended(RwLock<BTreeMap<String, String>>);

impl Extended {
    const MAX_ENTRIES: usize = 256;
    /// Names and values together.
    const MAX_BYTES: usize = 64 * 1024;

    /// Sets one; `false` when there is no room.
    pub fn set(&self, name: String, value: String) -> bool {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let others = map.iter().filter(|(other, _)| **other != name);
        let (count, bytes) = others.fold((0, 0), |(count, bytes), (name, value)| {
            (count + 1, bytes + name.len() + value.len())
        });
        if count >= Self::MAX_ENTRIES || bytes + name.len() + value.len() > Self::MAX_BYTES {
            return false;
        }
        map.insert(name, value);
        true
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<String, String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_attach_is_bounded_in_number_and_bytes() {
        let extended = Extended::default();
        let half = "x".repeat(Extended::MAX_BYTES / 2 - 1);
        assert!(extended.set("a".into(), half.clone()) && extended.set("b".into(), half.clone()));
        assert!(!extended.set("c".into(), String::new()), "no room");
        assert!(extended.set("a".into(), "short".into()), "replacing makes room");
        assert!(extended.set("c".into(), "d".into()));
        for number in 0..Extended::MAX_ENTRIES - 3 {
            assert!(extended.set(number.to_string(), String::new()), "{number}");
        }
        assert!(!extended.set("one more".into(), String::new()));
    }
}
