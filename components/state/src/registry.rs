//! The list of state store drivers. A driver exists when it has a line here.
//!
//! One idea: everything that lists drivers (catalog, `--build-info`, opening) reads this one list. Must never open a
//! driver that is not hosted in platform mode, whatever its own `open` would do.

use std::sync::Arc;

use palladium_component::catalog::{Catalog, CatalogField, ComponentType};
use palladium_component::{
    ComponentMetadata, Hosted, Hosting, MetadataError, OpenContext, OpenError, StateDriver, StateStore,
};

use crate::common::StateMetadata;

/// Every driver, in alphabetical order.
pub const ALL: &[StateDriver] = &[
    crate::diagrid::DRIVER,
    crate::etcd::DRIVER,
    crate::in_memory::DRIVER,
    crate::memcached::DRIVER,
    crate::mysql::DRIVER,
    crate::postgresql::DRIVER,
    crate::redis::DRIVER,
    crate::sqlite::DRIVER,
];

/// The driver for a component type and version (empty = `v1`).
pub fn find(type_name: &str, version: &str) -> Option<&'static StateDriver> {
    ALL.iter().find(|driver| driver.matches(type_name, version))
}

/// Opens a component of a type and version. In platform mode drivers that touch the machine are refused.
pub async fn open(type_name: &str, version: &str, context: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
    let driver = find(type_name, version).ok_or_else(|| unknown(type_name, version))?;
    if driver.hosted == Hosted::Refused && matches!(context.hosting, Hosting::Platform { .. }) {
        return Err(OpenError::NotAllowed(format!(
            "{type_name} is only for processes of your own"
        )));
    }
    let version = version.to_string();
    (driver.open)(OpenContext { version, ..context }).await
}

/// The catalog of these drivers, for the generator.
pub fn catalog() -> Catalog {
    let fields = StateMetadata::fields().iter().map(CatalogField::from).collect();
    Catalog {
        components: ALL.iter().map(ComponentType::of).collect(),
        common: [("state".to_string(), fields)].into_iter().collect(),
    }
}

fn unknown(type_name: &str, version: &str) -> OpenError {
    let known = ALL.iter().find(|driver| driver.matches(type_name, driver.versions[0]));
    OpenError::Metadata(match known {
        Some(driver) => MetadataError::new(
            "spec.version",
            format!("{type_name} has no version '{version}'"),
            format!("use one of: {}", driver.versions.join(", ")),
        ),
        None => MetadataError::new(
            "spec.type",
            format!(
                "couldn't find state store {type_name}/{}",
                if version.is_empty() { "v1" } else { version }
            ),
            format!(
                "use one of: {}",
                ALL.iter().map(|driver| driver.type_name).collect::<Vec<_>>().join(", ")
            ),
        ),
    })
}

#[cfg(test)]
mod tests;
