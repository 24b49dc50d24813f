//! The contract of a configuration store driver.
//!
//! The one idea: a key has a value, a version and metadata; whoever asks for changes is told of each by what is stored after
//! it. A driver must never write: configuration belongs to its operator.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::error::CallError;
use crate::reply::BoxFuture;
use crate::{Driver, Reply};

/// A registered configuration store driver.
pub type ConfigurationDriver = Driver<dyn ConfigurationStore>;

/// What is stored under one key. All empty: the key was deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item {
    /// Its value.
    pub value: String,
    /// Its version; empty = it has none.
    pub version: String,
    /// About it.
    pub metadata: HashMap<String, String>,
}

/// Items by their keys.
pub type Items = BTreeMap<String, Item>;

/// Which keys are meant.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The keys; none = all there are.
    pub keys: Vec<String>,
    /// How.
    pub metadata: HashMap<String, String>,
}

/// Is told of changes.
pub trait Listener: Send + Sync + 'static {
    /// Takes one change: the items as they are after it. A driver waits for this before it tells the next one.
    fn changed(&self, items: Items) -> BoxFuture<'_, ()>;
}

/// Keeps changes coming: they end when it is dropped.
pub type Listening = Box<dyn Send + Sync>;

/// One opened configuration store. All calls may run side by side.
pub trait ConfigurationStore: Send + Sync + 'static {
    /// Reads items. A key that is not there is left out.
    fn get<'a>(&'a self, selection: &'a Selection) -> Reply<'a, Items, CallError>;

    /// Begins to tell of changes. Every change after the answer is told, unless a later one of the same key replaces it.
    fn subscribe<'a>(
        &'a self,
        selection: &'a Selection,
        listener: Arc<dyn Listener>,
    ) -> Reply<'a, Listening, CallError>;

    /// Ends connections, tasks and with them all subscriptions. No call follows.
    fn close(&self) -> Reply<'_, (), CallError> {
        Reply::ready(Ok(()))
    }
}
