//! The list of publish/subscribe drivers. A driver exists when it has a line here.
//!
//! One idea: everything that lists drivers (catalog, `--build-info`, opening) reads this one list. Must never open a
//! driver that is not hosted in platform mode, whatever its own `open` would do.

use std::sync::Arc;

use palladium_component::catalog::{Catalog, CatalogField, ComponentType};
use palladium_component::{
    ComponentMetadata, Hosted, Hosting, MetadataError, OpenContext, OpenError, PubSub, PubsubDriver,
};

use crate::common::PubsubMetadata;

/// Every driver, in alphabetical order.
pub const ALL: &[PubsubDriver] = &[crate::in_memory::DRIVER, crate::redis::DRIVER];

/// The driver for a component type and version (empty = `v1`).
pub fn find(type_name: &str, version: &str) -> Option<&'static PubsubDriver> {
    ALL.iter().find(|driver| driver.matches(type_name, version))
}

/// Opens a component of a type and version. In platform mode drivers that touch the machine are refused.
pub async fn open(type_name: &str, version: &str, context: OpenContext) -> Result<Arc<dyn PubSub>, OpenError> {
    let Some(driver) = find(type_name, version) else {
        return Err(unknown(type_name, version));
    };
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
    let fields = PubsubMetadata::fields().iter().map(CatalogField::from).collect();
    Catalog {
        components: ALL.iter().map(ComponentType::of).collect(),
        common: [("pubsub".to_string(), fields)].into_iter().collect(),
    }
}

fn unknown(type_name: &str, version: &str) -> OpenError {
    let version = if version.is_empty() { "v1" } else { version };
    let known: Vec<&str> = ALL.iter().map(|driver| driver.type_name).collect();
    OpenError::Metadata(MetadataError::new(
        "spec.type",
        format!("couldn't find message bus {type_name}/{version}"),
        format!("use one of: {}", known.join(", ")),
    ))
}

#[cfg(test)]
mod tests;
