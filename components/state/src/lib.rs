//! The state store drivers.
//!
//! The one idea: one folder is one driver, one line in [`registry`] makes it exist. Every driver passes the same suite
//! (`components/conformance`); what a driver's own tests hold is only what is peculiar to it. A driver must never know
//! the process that links it, and never put a stored value or a secret into an error.
//!
//! Start reading at [`registry`], then `in_memory`, the smallest driver.

mod bulk;
pub mod common;
mod diagrid;
mod etcd;
mod grpc;
mod in_memory;
mod memcached;
mod mysql;
pub mod pluggable;
mod postgresql;
mod redis;
pub mod registry;
mod sql;
mod sqlite;
mod ttl;

pub use registry::{ALL, catalog, find, open};
