//! The contract of a secret store driver.
//!
//! The one idea: a secret is a name with one or more values, each under a key of its own; a store without such keys
//! gives each secret one value under the secret's own name. A driver must never log a value, nor keep one longer than its
//! store does.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::CallError;
use crate::state::Metadata;
use crate::{Driver, Reply};

/// A registered secret store driver.
pub type SecretDriver = Driver<dyn SecretStore>;

/// The values of one secret by their keys. Its `Debug` shows the keys only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub BTreeMap<String, String>);

impl Secret {
    /// A secret with one value, under its own name.
    pub fn single(name: impl Into<String>, value: impl Into<String>) -> Self {
        Secret([(name.into(), value.into())].into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// One opened secret store. All calls may run side by side.
pub trait SecretStore: Send + Sync + 'static {
    /// What it can do, as the metadata API shows it.
    fn capabilities(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads one secret. An unknown name is an error.
    fn get<'a>(&'a self, name: &'a str, metadata: &'a Metadata) -> Reply<'a, Secret, CallError>;

    /// Reads all secrets, by their names.
    fn get_all<'a>(&'a self, metadata: &'a Metadata) -> Reply<'a, BTreeMap<String, Secret>, CallError>;

    /// Ends connections and tasks. No call follows.
    fn close(&self) -> Reply<'_, (), CallError> {
        Reply::ready(Ok(()))
    }
}
