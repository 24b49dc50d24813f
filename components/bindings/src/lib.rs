//! The binding drivers.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist. A driver must never know of applications,
//! nor put a secret into an error.

pub mod common;
mod cron;
mod http;
pub mod pluggable;

use common::BindingMetadata;
use palladium_component::catalog::{Catalog, CatalogField};
use palladium_component::{Binding, ComponentMetadata as _, Registry};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn Binding> = Registry {
    what: "binding",
    drivers: &[cron::DRIVER, http::DRIVER],
};

/// The catalog of these drivers, for the generator.
pub fn catalog() -> Catalog {
    let fields = BindingMetadata::fields().iter().map(CatalogField::from).collect();
    Catalog {
        common: [("bindings".to_owned(), fields)].into_iter().collect(),
        ..DRIVERS.catalog()
    }
}
