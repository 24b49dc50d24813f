//! The publish/subscribe drivers.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist. Every driver passes the same suite
//! (`components/conformance`); what a driver's own tests hold is only what is peculiar to it. A driver must never know
//! the process that links it, acknowledge a message that was not settled, or put a message or a secret into an error.
//!
//! Start reading at [`DRIVERS`], then `in_memory`, the smallest driver.

pub mod common;
mod in_memory;
pub mod pluggable;
mod redis;

use common::PubsubMetadata;
use palladium_component::{ComponentMetadata as _, PubSub, Registry};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn PubSub> = Registry {
    what: "message bus",
    common: Some(("pubsub", PubsubMetadata::fields)),
    drivers: &[in_memory::DRIVER, redis::DRIVER],
};
