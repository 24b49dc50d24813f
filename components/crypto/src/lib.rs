//! The cryptography drivers.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist; how a key is read and used is the same
//! for all that keep keys in this process ([`keys`]). A driver must never give out a key.

mod jwks;
mod keys;
mod localstorage;

use palladium_component::{CryptoProvider, Registry};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn CryptoProvider> = Registry {
    what: "crypto provider",
    common: None,
    drivers: &[jwks::DRIVER, localstorage::DRIVER],
};
