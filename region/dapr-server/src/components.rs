//! Turns declared components into open ones.
//!
//! One idea: everything that can be wrong with one component ends here as one [`LoadError`] with its name; whether that ends
//! the process is the caller's decision. Must never log a metadata value.

use std::sync::Arc;

use palladium_component::state::Feature;
use palladium_component::{Connector, Hosting, OpenContext, OpenError, StateStore};
use palladium_components_state::pluggable::PluggableStore;
use palladium_engine_state::StateComponent;
use tokio::time::timeout;

use crate::metrics::Metrics;
use crate::resources::Component;
use crate::secrets::Secrets;
use crate::server::{Registered, StateEntry};

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
    /// State stores in processes of the user's own; none in platform mode.
    pub pluggable: Vec<PluggableStore>,
}

/// What came of a component.
pub enum Opened {
    /// A state store.
    State(Arc<StateEntry>, Registered),
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
    #[error("couldn't find state store {type_name}/{version}")]
    Unknown {
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
/// Building blocks that Dapr has and this program has not yet.
const LATER: [&str; 9] = [
    "pubsub.",
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
        let outcome = outcome.map_err(|error| match error {
            LoadError::Open(error) => LoadError::Open(Secrets::of(declared).out_of_open(error)),
            other => other,
        });
        metrics.component(&declared.kind, outcome.is_ok());
        outcome
    }

    async fn open_now(&self, declared: &Component, metrics: &Metrics) -> Result<Opened, LoadError> {
        let kind = declared.kind.to_ascii_lowercase();
        if LATER.iter().any(|prefix| kind.starts_with(prefix)) {
            return Ok(Opened::Unavailable(registered(declared, Vec::new())));
        }
        if !kind.starts_with(STATE) {
            return Err(LoadError::NoBlock(declared.kind.clone()));
        }
        if let Some((field, reason)) = declared.unresolved.first() {
            return Err(LoadError::Secret {
                field: field.clone(),
                reason: reason.clone(),
            });
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
            secrets: Secrets::of(declared),
        };
        Ok(Opened::State(Arc::new(entry), registered))
    }

    async fn open_state(&self, declared: &Component) -> Result<Arc<dyn StateStore>, LoadError> {
        let context = OpenContext {
            component: declared.name.clone(),
            version: declared.version.clone(),
            app_id: self.app_id.clone(),
            properties: declared.properties.clone(),
            hosting: self.hosting.clone(),
            managed: self.managed.clone(),
        };
        if palladium_components_state::find(&declared.kind, &declared.version).is_some() {
            return Ok(palladium_components_state::open(&declared.kind, &declared.version, context).await?);
        }
        if let Some(store) = self.pluggable.iter().find(|store| store.matches(&declared.kind)) {
            return Ok(store.open(context).await?);
        }
        Err(unknown(declared))
    }
}

fn unknown(declared: &Component) -> LoadError {
    let version = declared.version_or_default().to_owned();
    LoadError::Unknown {
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
