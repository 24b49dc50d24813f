//! The publish/subscribe drivers.
//!
//! The one idea: one folder is one driver, one line in [`registry`] makes it exist. Every driver passes the same suite
//! (`components/conformance`); what a driver's own tests hold is only what is peculiar to it. A driver must never know
//! the process that links it, acknowledge a message that was not settled, or put a message or a secret into an error.
//!
//! Start reading at [`registry`], then `in_memory`, the smallest driver.

pub mod common;
mod in_memory;
pub mod pluggable;
mod redis;
pub mod registry;

pub use registry::{ALL, catalog, find, open};
