//! The lock drivers.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist; what all of them take is
//! [`LockMetadata`]. A driver must never give a lock to two owners.

mod common;
mod redis;

pub use common::LockMetadata;
use palladium_component::{ComponentMetadata as _, LockStore, Registry};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn LockStore> = Registry {
    what: "lock store",
    common: Some(("lock", LockMetadata::fields)),
    drivers: &[redis::DRIVER],
};
