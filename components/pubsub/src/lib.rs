//! The publish/subscribe drivers.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist. Every driver passes the same suite
//! (`components/conformance`); what a driver's own tests hold is only what is peculiar to it. A driver must never know
//! the process that links it, acknowledge a message that was not settled, or put a message or a secret into an error.
//!
//! Start reading at [`DRIVERS`], then `in_memory`, the smallest driver.

pub mod common;
mod diagrid;
mod in_memory;
mod kafka;
mod mqtt3;
pub mod pluggable;
mod rabbitmq;
mod redis;
mod room;

use common::PubsubMetadata;
use palladium_component::{ComponentMetadata as _, PubSub, Registry};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn PubSub> = Registry {
    what: "message bus",
    common: Some(("pubsub", PubsubMetadata::fields)),
    drivers: &[
        diagrid::DRIVER,
        in_memory::DRIVER,
        kafka::DRIVER,
        mqtt3::DRIVER,
        rabbitmq::DRIVER,
        redis::DRIVER,
    ],
};
