//! The secret store drivers.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist. A driver must never put a secret's value
//! into an error or a log.

mod local_env;
mod local_file;

use palladium_component::{Registry, SecretStore};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn SecretStore> = Registry {
    what: "secret store",
    common: None,
    drivers: &[local_env::DRIVER, local_file::DRIVER],
};
