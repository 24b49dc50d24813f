//! The binding drivers.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist. A driver must never know of applications,
//! nor put a secret into an error.

mod answer;
mod aws_s3;
pub mod common;
mod cron;
mod http;
mod kafka;
mod localstorage;
pub mod pluggable;
mod postgresql;
mod rabbitmq;
mod redis;
mod until;

use common::BindingMetadata;
use palladium_component::{Binding, ComponentMetadata as _, Registry};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn Binding> = Registry {
    what: "binding",
    common: Some(("bindings", BindingMetadata::fields)),
    drivers: &[
        aws_s3::DRIVER,
        cron::DRIVER,
        http::DRIVER,
        kafka::DRIVER,
        localstorage::DRIVER,
        postgresql::DRIVER,
        rabbitmq::DRIVER,
        redis::DRIVER,
    ],
};
