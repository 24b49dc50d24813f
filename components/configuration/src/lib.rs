//! The configuration store drivers.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist. A driver must never write to its store.

mod pending;
mod postgresql;
mod redis;

use palladium_component::{ConfigurationStore, Registry};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn ConfigurationStore> = Registry {
    what: "configuration store",
    common: None,
    drivers: &[postgresql::DRIVER, redis::DRIVER],
};
