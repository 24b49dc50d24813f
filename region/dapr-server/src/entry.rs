//! A loaded component, of whatever building block.
//!
//! One idea: what every block has alike (a name, an end, being held by calls) is asked of the entry; a block is one variant
//! here and one map in `Components`. Must never hold what only one request needs.

use std::sync::Arc;

use palladium_component::{Binding, ConfigurationStore, Conversation, CryptoProvider, LockStore, SecretStore};
use palladium_engine_lock::LockPrefix;

use crate::configuration::Subscriptions;
use crate::metrics::CallMetrics;
use crate::pipeline::Piece;
use crate::pubsub::PubsubEntry;
use crate::server::StateEntry;

/// A component that is its driver and nothing more, with its metrics.
pub struct Block<S: ?Sized> {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: Arc<S>,
    /// Handles for counting.
    pub calls: CallMetrics,
}

/// A loaded component of any building block.
#[derive(Clone)]
pub enum Entry {
    /// A state store.
    State(Arc<StateEntry>),
    /// Publish/subscribe.
    Pubsub(Arc<PubsubEntry>),
    /// A secret store.
    Secrets(Arc<Block<dyn SecretStore>>),
    /// A binding, with what it is to be used for.
    Binding(Arc<BindingEntry>),
    /// A piece of a pipeline.
    Middleware(Arc<Piece>),
    /// A conversation with a language model.
    Conversation(Arc<Block<dyn Conversation>>),
    /// A configuration store.
    Configuration(Arc<ConfigurationEntry>),
    /// A lock store.
    Lock(Arc<LockEntry>),
    /// A keeper of keys.
    Crypto(Arc<Block<dyn CryptoProvider>>),
}

/// A loaded configuration store.
pub struct ConfigurationEntry {
    /// The driver.
    pub store: Block<dyn ConfigurationStore>,
    /// Who is told of changes.
    pub subscriptions: Subscriptions,
}

/// A loaded lock store. Dapr counts none of its calls.
pub struct LockEntry {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: Arc<dyn LockStore>,
    /// What stands before every resource.
    pub prefix: LockPrefix,
}

/// A loaded binding.
pub struct BindingEntry {
    /// The driver, counting calls out.
    pub out: Block<dyn Binding>,
    /// Counts events.
    pub events: CallMetrics,
    /// Whether it may be called.
    pub is_output: bool,
    /// Whether its events are wanted.
    pub is_input: bool,
    /// Whether its events are wanted without asking the application.
    pub unasked: bool,
    /// The application's path for its events.
    pub route: String,
}

impl Entry {
    /// The component's name.
    pub fn name(&self) -> &str {
        match self {
            Self::State(entry) => entry.component.name(),
            Self::Pubsub(entry) => entry.component.name(),
            Self::Secrets(entry) => &entry.name,
            Self::Binding(entry) => &entry.out.name,
            Self::Middleware(entry) => &entry.name,
            Self::Conversation(entry) => &entry.name,
            Self::Configuration(entry) => &entry.store.name,
            Self::Lock(entry) => &entry.name,
            Self::Crypto(entry) => &entry.name,
        }
    }

    /// Whether somebody else still uses it.
    pub fn is_held(&self) -> bool {
        1 < match self {
            Self::State(entry) => Arc::strong_count(entry),
            Self::Pubsub(entry) => Arc::strong_count(entry),
            Self::Secrets(entry) => Arc::strong_count(entry),
            Self::Binding(entry) => Arc::strong_count(entry),
            Self::Middleware(entry) => Arc::strong_count(entry),
            Self::Conversation(entry) => Arc::strong_count(entry),
            Self::Configuration(entry) => Arc::strong_count(entry),
            Self::Lock(entry) => Arc::strong_count(entry),
            Self::Crypto(entry) => Arc::strong_count(entry),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// What the driver says, without the component's secrets.
    pub async fn close(&self) -> Result<(), String> {
        fn words<T>(outcome: Result<T, impl ToString>) -> Result<T, String> {
            outcome.map_err(|error| error.to_string())
        }
        match self {
            Self::State(entry) => {
                let closed = words(entry.component.store().close().await);
                closed.map_err(|error| entry.secrets.out_of(error))
            }
            Self::Pubsub(entry) => words(entry.component.driver().close().await),
            Self::Secrets(entry) => words(entry.driver.close().await),
            Self::Binding(entry) => words(entry.out.driver.close().await),
            Self::Middleware(_) => Ok(()),
            Self::Conversation(entry) => words(entry.driver.close().await),
            Self::Configuration(entry) => words(entry.store.driver.close().await),
            Self::Lock(entry) => words(entry.driver.close().await),
            Self::Crypto(entry) => words(entry.driver.close().await),
        }
    }
}
