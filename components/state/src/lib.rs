//! The state store drivers.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist. Every driver passes the same suite
//! (`components/conformance`); what a driver's own tests hold is only what is peculiar to it. A driver must never know
//! the process that links it, and never put a stored value or a secret into an error.
//!
//! Start reading at [`DRIVERS`], then `in_memory`, the smallest driver.

mod bulk;
pub mod common;
mod diagrid;
mod etcd;
mod grpc;
mod in_memory;
mod like;
mod memcached;
mod mysql;
pub mod pluggable;
mod postgresql;
mod redis;
mod sql;
mod sqlite;
mod ttl;

use common::StateMetadata;
use palladium_component::{ComponentMetadata as _, Registry, StateStore};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn StateStore> = Registry {
    what: "state store",
    common: Some(("state", StateMetadata::fields)),
    drivers: &[
        diagrid::DRIVER,
        etcd::DRIVER,
        in_memory::DRIVER,
        memcached::DRIVER,
        mysql::DRIVER,
        postgresql::DRIVER,
        redis::DRIVER,
        sqlite::DRIVER,
    ],
};
