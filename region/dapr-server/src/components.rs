//! Turns declared components into open ones.
//!
//! One idea: everything that can be wrong with one component ends here as one [`LoadError`] with its name; whether that ends
//! the process is the caller's decision. Must never log a metadata value.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use palladium_component::state::Feature;
use palladium_component::{
    Binding, ComponentMetadata as _, ConfigurationStore, Connector, Conversation, CryptoProvider, Hosting, LockStore,
    OpenContext, OpenError, Registry, SecretStore,
};
use palladium_components_bindings::common::Use;
use palladium_components_lock::LockMetadata;
use palladium_components_pluggable::Found;
use palladium_engine_lock::LockPrefix;
use palladium_engine_pubsub::{Outbox, PubsubComponent};
use palladium_engine_state::StateComponent;
use tokio::time::timeout;

use crate::configuration::Subscriptions;
use crate::entry::{BindingEntry, Block, ConfigurationEntry, Entry, LockEntry};
use crate::metrics::{Counted, Metrics};
use crate::pipeline::Piece;
use crate::pubsub::PubsubEntry;
use crate::resources::{Component, HttpEndpoint, Reference, expand};
use crate::secrets::{Guarded, Secrets};
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
    /// Components in processes of the user's own; none in platform mode.
    pub pluggable: Vec<Found>,
    /// The open secret stores: other components' references are resolved there.
    pub secrets: SecretStores,
}

/// Secret stores by their names.
#[derive(Default)]
pub struct SecretStores(Mutex<HashMap<String, Arc<dyn SecretStore>>>);

impl SecretStores {
    fn get(&self, name: &str) -> Option<Arc<dyn SecretStore>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn add(&self, name: &str, store: Arc<dyn SecretStore>) {
        let mut stores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stores.insert(name.to_owned(), store);
    }

    /// A component was removed; that it was no secret store does not matter.
    pub fn remove(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
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
    /// The building block is one that this program does not have yet.
    #[error("components of type {0} cannot be used yet")]
    Later(String),
    /// A bug in the driver, told in the log.
    #[error("its driver failed unexpectedly")]
    Panicked,
    /// The driver took too long.
    #[error("init timeout for component {0} exceeded")]
    Timeout(String),
    /// What the building block itself reads of the metadata is wrong: key prefix, encryption keys.
    #[error("{0}")]
    Setup(String),
}

/// How long a secret store may take for one value of an HTTP endpoint.
const SECRET: Duration = Duration::from_secs(5);
/// Values that a component or an endpoint asks for at a time.
const AT_ONCE: usize = 16;
const STATE: &str = "state.";
const PUBSUB: &str = "pubsub.";
/// Whether components of a type must be open before others, whose references they resolve.
pub fn is_secret_store(kind: &str) -> bool {
    kind.get(..SECRETS.len())
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case(SECRETS))
}

const SECRETS: &str = "secretstores.";
const BINDINGS: &str = "bindings.";
const MIDDLEWARE: &str = "middleware.http.";
const CONVERSATION: &str = "conversation.";
const CONFIGURATION: &str = "configuration.";
const LOCK: &str = "lock.";
const CRYPTO: &str = "crypto.";
const BLOCKS: [&str; 9] = [
    STATE,
    PUBSUB,
    SECRETS,
    BINDINGS,
    MIDDLEWARE,
    CONVERSATION,
    CONFIGURATION,
    LOCK,
    CRYPTO,
];
/// Building blocks that Dapr has and this program has not yet.
const LATER: [&str; 1] = ["nameresolution."];

impl Opener {
    /// Opens one component within its time.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn open(&self, declared: &Component, metrics: &Metrics) -> Result<Opened, LoadError> {
        let outcome = timeout(declared.init_timeout, self.open_now(declared, metrics)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(LoadError::Timeout(declared.name.clone())));
        metrics.component(&declared.kind, &declared.name, outcome.is_ok());
        outcome
    }

    async fn open_now(&self, declared: &Component, metrics: &Metrics) -> Result<Opened, LoadError> {
        let kind = declared.kind.to_ascii_lowercase();
        if LATER.iter().any(|prefix| kind.starts_with(prefix)) {
            return Ok(Opened::Unavailable(registered(declared, Vec::new())));
        }
        let Some(block) = BLOCKS.into_iter().find(|block| kind.starts_with(block)) else {
            return Err(LoadError::NoBlock(declared.kind.clone()));
        };
        if let Some((field, reason)) = declared.unresolved.first() {
            return Err(LoadError::Secret {
                field: field.clone(),
                reason: reason.clone(),
            });
        }
        let resolved;
        let declared = if declared.references.is_empty() {
            declared
        } else {
            resolved = self.resolve(declared).await?;
            &resolved
        };
        let opened = self.open_block(block, declared, metrics).await;
        opened.map_err(|error| match error {
            LoadError::Open(error) => LoadError::Open(Secrets::of(declared).out_of_open(error)),
            other => other,
        })
    }

    async fn open_block(&self, block: &str, declared: &Component, metrics: &Metrics) -> Result<Opened, LoadError> {
        match block {
            PUBSUB => self.open_pubsub(declared, metrics).await,
            SECRETS => self.open_secrets(declared, metrics).await,
            BINDINGS => self.open_binding(declared, metrics).await,
            MIDDLEWARE => {
                let driver = self
                    .open_driver(&palladium_components_middleware::DRIVERS, declared)
                    .await?;
                let piece = Piece {
                    name: declared.name.clone(),
                    kind: declared.kind.clone(),
                    driver: Guarded::new(driver, Secrets::of(declared)),
                };
                Ok(ready(Entry::Middleware(Arc::new(piece)), declared, Vec::new()))
            }
            CONVERSATION => {
                let driver = self
                    .open_driver(&palladium_components_conversation::DRIVERS, declared)
                    .await?;
                let driver: Arc<dyn Conversation> = Guarded::new(driver, Secrets::of(declared));
                let block = block_of(declared, driver, metrics, Counted::Conversation);
                Ok(ready(Entry::Conversation(Arc::new(block)), declared, Vec::new()))
            }
            CONFIGURATION => {
                let drivers = &palladium_components_configuration::DRIVERS;
                let driver = self.open_driver(drivers, declared).await?;
                let driver: Arc<dyn ConfigurationStore> = Guarded::new(driver, Secrets::of(declared));
                let entry = ConfigurationEntry {
                    store: block_of(declared, driver, metrics, Counted::Configuration),
                    subscriptions: Subscriptions::default(),
                };
                Ok(ready(Entry::Configuration(Arc::new(entry)), declared, Vec::new()))
            }
            LOCK => self.open_lock(declared).await,
            CRYPTO => {
                let driver = self
                    .open_driver(&palladium_components_crypto::DRIVERS, declared)
                    .await?;
                let driver: Arc<dyn CryptoProvider> = Guarded::new(driver, Secrets::of(declared));
                let block = block_of(declared, driver, metrics, Counted::Crypto);
                Ok(ready(Entry::Crypto(Arc::new(block)), declared, Vec::new()))
            }
            _ => self.open_state(declared, metrics).await,
        }
    }

    async fn open_state(&self, declared: &Component, metrics: &Metrics) -> Result<Opened, LoadError> {
        use palladium_components_state::{DRIVERS, pluggable};
        let store = self.open_either(&DRIVERS, pluggable::open, declared).await?;
        let component = StateComponent::new(
            &declared.name,
            &self.app_id,
            &self.namespace,
            &declared.properties,
            store,
        )
        .map_err(|error| LoadError::Setup(error.to_string()))?;
        let registered = registered(declared, capabilities(&component));
        let entry = StateEntry {
            component: Arc::new(component),
            metrics: metrics.state(&declared.name),
            secrets: Secrets::of(declared),
            outbox: Outbox::read(&declared.properties),
            under_way: Default::default(),
        };
        Ok(Opened::Ready(Entry::State(Arc::new(entry)), registered))
    }

    async fn open_pubsub(&self, declared: &Component, metrics: &Metrics) -> Result<Opened, LoadError> {
        use palladium_components_pubsub::{DRIVERS, pluggable};
        let driver = self.open_either(&DRIVERS, pluggable::open, declared).await?;
        let driver = Guarded::new(driver, Secrets::of(declared));
        let namespace = declared.by_namespace.then_some(self.namespace.as_str());
        let component = PubsubComponent::new(&declared.name, &self.app_id, namespace, &declared.properties, driver);
        let registered = registered(declared, component.features().names());
        let entry = PubsubEntry {
            component: Arc::new(component),
            metrics: metrics.pubsub(&declared.name),
        };
        Ok(Opened::Ready(Entry::Pubsub(Arc::new(entry)), registered))
    }

    /// Asks a secret store for the values that a component refers to.
    async fn resolve(&self, declared: &Component) -> Result<Component, LoadError> {
        let mut resolved = declared.clone();
        let asked: Vec<_> = declared
            .references
            .iter()
            .map(|reference| self.referred(&declared.secret_store, reference))
            .collect();
        // In their order: the first that lacks is told, whatever the others come to.
        let mut found = pin!(stream::iter(asked).buffered(AT_ONCE));
        while let Some((reference, value)) = found.try_next().await? {
            let (field, value) = (reference.field.clone(), expand(value, &self.app_id, &self.namespace));
            resolved
                .properties
                .insert_resolved(field, value, reference.secret.clone());
        }
        Ok(resolved)
    }

    /// A field's value, beside what refers to it.
    async fn referred<'a>(&self, store: &str, reference: &'a Reference) -> Result<(&'a Reference, String), LoadError> {
        let value = self.secret(store, reference).await;
        let value = value.map_err(|reason| LoadError::Secret {
            field: reference.field.clone(),
            reason,
        })?;
        Ok((reference, value))
    }

    /// Asks the secret stores for what HTTP endpoints refer to, for all side by side. One that lacks something is unusable
    /// from then on; the others are not.
    pub async fn complete(&self, endpoints: &mut [HttpEndpoint]) {
        let each: Vec<_> = endpoints
            .iter_mut()
            .map(|endpoint| self.complete_one(endpoint))
            .collect();
        join_all(each).await;
    }

    async fn complete_one(&self, endpoint: &mut HttpEndpoint) {
        let (parts, references): (Vec<_>, Vec<_>) = endpoint.take_references().into_iter().unzip();
        let store = endpoint.secret_store.clone();
        let asked: Vec<_> = references
            .iter()
            .map(|reference| self.secret_in_time(&store, reference))
            .collect();
        let values: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
        for (part, value) in parts.into_iter().zip(values) {
            match value {
                Ok(value) => endpoint.fill(part, value),
                Err(reason) => endpoint.refuse(&part, &reason),
            }
        }
    }

    async fn secret_in_time(&self, store: &str, wanted: &Reference) -> Result<String, String> {
        let asked = timeout(SECRET, self.secret(store, wanted)).await;
        asked.unwrap_or_else(|_| Err("the secret store did not answer in time".to_owned()))
    }

    /// One value of a secret store that is loaded.
    async fn secret(&self, store: &str, wanted: &Reference) -> Result<String, String> {
        let found = self.secrets.get(store);
        let found = found.ok_or_else(|| format!("secret store {store:?} is not loaded"))?;
        let metadata = [("namespace".to_owned(), self.namespace.clone())].into();
        let values = found.get(&wanted.secret, &metadata).await;
        let mut values = values.map_err(|error| error.to_string())?;
        let value = values.0.remove(&wanted.key).filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("secret {:?} has no value {:?}", wanted.secret, wanted.key))
    }

    /// Opens a component of a block that has nothing but its list of drivers.
    async fn open_driver<S: ?Sized>(&self, drivers: &Registry<S>, declared: &Component) -> Result<Arc<S>, LoadError> {
        self.open_either(drivers, async |_: &[Found], _: &str, _| None, declared)
            .await
    }

    /// By a driver of ours, or else in a process of the user's own.
    async fn open_either<S: ?Sized>(
        &self,
        drivers: &Registry<S>,
        pluggable: impl AsyncFnOnce(&[Found], &str, OpenContext) -> Option<Result<Arc<S>, OpenError>>,
        declared: &Component,
    ) -> Result<Arc<S>, LoadError> {
        let context = self.context(declared);
        if drivers.find(&declared.kind, &declared.version).is_some() {
            return Ok(drivers.open(&declared.kind, &declared.version, context).await?);
        }
        let opened = pluggable(&self.pluggable, &declared.kind, context).await;
        Ok(opened.ok_or_else(|| unknown(drivers.what, declared))??)
    }

    async fn open_secrets(&self, declared: &Component, metrics: &Metrics) -> Result<Opened, LoadError> {
        let driver = self
            .open_driver(&palladium_components_secretstores::DRIVERS, declared)
            .await?;
        let driver: Arc<dyn SecretStore> = Guarded::new(driver, Secrets::of(declared));
        self.secrets.add(&declared.name, driver.clone());
        let capabilities = driver.capabilities().to_vec();
        let block = block_of(declared, driver, metrics, Counted::Secret);
        Ok(ready(Entry::Secrets(Arc::new(block)), declared, capabilities))
    }

    async fn open_binding(&self, declared: &Component, metrics: &Metrics) -> Result<Opened, LoadError> {
        use palladium_components_bindings::{DRIVERS, pluggable};
        let driver = self.open_either(&DRIVERS, pluggable::open, declared).await?;
        let driver: Arc<dyn Binding> = Guarded::new(driver, Secrets::of(declared));
        let (ways, said) = (driver.ways(), Use::read(&declared.properties));
        let mut capabilities = Vec::new();
        if ways.into && said.input {
            capabilities.push("INPUT_BINDING");
        }
        if ways.out && said.output {
            capabilities.push("OUTPUT_BINDING");
        }
        let entry = BindingEntry {
            is_output: ways.out && said.output,
            is_input: ways.into && said.input,
            unasked: said.unasked,
            route: said.route.unwrap_or_else(|| declared.name.clone()),
            events: metrics.calls(Counted::InputBinding, &declared.name),
            out: block_of(declared, driver, metrics, Counted::OutputBinding),
        };
        Ok(ready(Entry::Binding(Arc::new(entry)), declared, capabilities))
    }

    async fn open_lock(&self, declared: &Component) -> Result<Opened, LoadError> {
        let driver = self.open_driver(&palladium_components_lock::DRIVERS, declared).await?;
        let driver: Arc<dyn LockStore> = Guarded::new(driver, Secrets::of(declared));
        let said = LockMetadata::parse(&declared.properties).map_err(OpenError::from)?;
        let prefix = LockPrefix::new(&said.key_prefix, &declared.name, &self.app_id);
        let prefix = prefix.map_err(|error| LoadError::Setup(format!("failed to save lock keyprefix: {error}")))?;
        let entry = LockEntry {
            name: declared.name.clone(),
            driver,
            prefix,
        };
        Ok(ready(Entry::Lock(Arc::new(entry)), declared, Vec::new()))
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
}

fn block_of<S: ?Sized>(declared: &Component, driver: Arc<S>, metrics: &Metrics, what: Counted) -> Block<S> {
    Block {
        name: declared.name.clone(),
        driver,
        calls: metrics.calls(what, &declared.name),
    }
}

fn ready(entry: Entry, declared: &Component, capabilities: Vec<&'static str>) -> Opened {
    Opened::Ready(entry, registered(declared, capabilities))
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

#[cfg(test)]
mod tests;
