//! Turns declared components into open ones.
//!
//! One idea: everything that can be wrong with one component ends here as one [`LoadError`] with its name; whether that ends
//! the process is the caller's decision. Must never log a metadata value.

use std::sync::Arc;

use palladium_component::state::Feature;
use palladium_component::{Connector, Hosting, OpenContext, OpenError, StateStore};
use palladium_components_pluggable::Found;
use palladium_engine_pubsub::PubsubComponent;
use palladium_engine_state::StateComponent;
use tokio::time::timeout;

use crate::metrics::Metrics;
use crate::pubsub::PubsubEntry;
use crate::resources::Component;
use crate::server::{Entry, Registered, StateEntry};

/// What every component of a Dapr Server is opened with.
pub struct Opener {
    /// The App ID.
    pub app_id: String,
    /// Dapr's namespace.
    pub namespace: String,
    /// Where drivers run.
    pub hosting: Hosting,
    /// The way to managed services.
    pub managed: Option<Arc<dyn Connector>>,
    /// Components in processes of the user's own; none in platform mode.
    pub pluggable: Vec<Found>,
}

/// What came of a component.
pub enum Opened {
    /// One that can be used.
    Ready(Entry, Registered),
    /// A building block that this program does not have yet: it is registered, and its API answers so.
    Unavailable(Registered),
}

/// A component that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No building block has that name. Unlike the others it is said without what was tried.
    #[error("incorrect type {0}")]
    NoBlock(String),
    /// Nobody knows the type.
    #[error("couldn't find {block} {type_name}/{version}")]
    Unknown {
        /// What its building block calls a component.
        block: &'static str,
        /// Its type.
        type_name: String,
        /// Its version.
        version: String,
    },
    /// A reference to a secret that cannot be resolved.
    #[error("metadata field {field:?}: {reason}")]
    Secret {
        /// Which field.
        field: String,
        /// Why.
        reason: String,
    },
    /// The driver refused or failed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The driver took too long.
    #[error("init timeout for component {0} exceeded")]
    Timeout(String),
    /// The key prefix is illegal.
    #[error("{0}")]
    KeyPrefix(String),
}

const STATE: &str = "state.";
const PUBSUB: &str = "pubsub.";
/// Building blocks that Dapr has and this program has not yet.
const LATER: [&str; 8] = [
    "bindings.",
    "secretstores.",
    "configuration.",
    "lock.",
    "crypto.",
    "conversation.",
    "middleware.http.",
    "nameresolution.",
];

impl Opener {
    /// Opens one component within its time.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn open(&self, declared: &Component, metrics: &Metrics) -> Result<Opened, LoadError> {
        let outcome = timeout(declared.init_timeout, self.open_now(declared, metrics)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(LoadError::Timeout(declared.name.clone())));
        metrics.component(&declared.kind, outcome.is_ok());
        outcome
    }

    async fn open_now(&self, declared: &Component, metrics: &Metrics) -> Result<Opened, LoadError> {
        let kind = declared.kind.to_ascii_lowercase();
        if LATER.iter().any(|prefix| kind.starts_with(prefix)) {
            return Ok(Opened::Unavailable(registered(declared, Vec::new())));
        }
        let is_pubsub = kind.starts_with(PUBSUB);
        if !is_pubsub && !kind.starts_with(STATE) {
            return Err(LoadError::NoBlock(declared.kind.clone()));
        }
        if let Some((field, reason)) = declared.unresolved.first() {
            return Err(LoadError::Secret {
                field: field.clone(),
                reason: reason.clone(),
            });
        }
        if is_pubsub {
            return self.open_pubsub(declared, metrics).await;
        }
        let store = self.open_state(declared).await?;
        let component = StateComponent::new(
            &declared.name,
            &self.app_id,
            &self.namespace,
            &declared.properties,
            store,
        )
        .map_err(|error| LoadError::KeyPrefix(error.to_string()))?;
        let registered = registered(declared, capabilities(&component));
        let entry = StateEntry {
            component: Arc::new(component),
            metrics: metrics.state(&declared.name),
        };
        Ok(Opened::Ready(Entry::State(Arc::new(entry)), registered))
    }

    async fn open_pubsub(&self, declared: &Component, metrics: &Metrics) -> Result<Opened, LoadError> {
        let context = self.context(declared);
        let driver = if palladium_components_pubsub::find(&declared.kind, &declared.version).is_some() {
            palladium_components_pubsub::open(&declared.kind, &declared.version, context).await?
        } else {
            let opened = palladium_components_pubsub::pluggable::open(&self.pluggable, &declared.kind, context).await;
            opened.ok_or_else(|| unknown("message bus", declared))??
        };
        let namespace = declared.by_namespace.then_some(self.namespace.as_str());
        let component = PubsubComponent::new(&declared.name, &self.app_id, namespace, &declared.properties, driver);
        let registered = registered(declared, component.features().names());
        let entry = PubsubEntry {
            component: Arc::new(component),
            metrics: metrics.pubsub(&declared.name),
        };
        Ok(Opened::Ready(Entry::Pubsub(Arc::new(entry)), registered))
    }

    fn context(&self, declared: &Component) -> OpenContext {
        OpenContext {
            component: declared.name.clone(),
            version: declared.version.clone(),
            app_id: self.app_id.clone(),
            properties: declared.properties.clone(),
            hosting: self.hosting.clone(),
            managed: self.managed.clone(),
        }
    }

    async fn open_state(&self, declared: &Component) -> Result<Arc<dyn StateStore>, LoadError> {
        let context = self.context(declared);
        if palladium_components_state::find(&declared.kind, &declared.version).is_some() {
            return Ok(palladium_components_state::open(&declared.kind, &declared.version, context).await?);
        }
        let opened = palladium_components_state::pluggable::open(&self.pluggable, &declared.kind, context).await;
        Ok(opened.ok_or_else(|| unknown("state store", declared))??)
    }
}

fn unknown(block: &'static str, declared: &Component) -> LoadError {
    let version = declared.version_or_default().to_owned();
    LoadError::Unknown {
        block,
        type_name: declared.kind.clone(),
        version,
    }
}

fn registered(declared: &Component, capabilities: Vec<&'static str>) -> Registered {
    Registered {
        name: declared.name.clone(),
        kind: declared.kind.clone(),
        version: declared.version.clone(),
        capabilities,
    }
}

/// What metadata says the store can do. Actors need both etags and transactions.
fn capabilities(component: &StateComponent) -> Vec<&'static str> {
    let features = component.features();
    let mut names = features.names();
    if features.has(Feature::Etag) && features.has(Feature::Transactional) {
        names.push("ACTOR");
    }
    names
}
