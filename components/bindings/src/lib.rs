//! The binding drivers.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist. A driver must never know of applications,
//! nor put a secret into an error.

pub mod common;
mod cron;
mod http;
pub mod pluggable;

use common::BindingMetadata;
use palladium_component::{Binding, ComponentMetadata as _, Registry};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn Binding> = Registry {
    what: "binding",
    common: Some(("bindings", BindingMetadata::fields)),
    drivers: &[cron::DRIVER, http::DRIVER],
};
