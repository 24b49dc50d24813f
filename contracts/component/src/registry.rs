//! The list of a building block's drivers, and what every list does alike.
//!
//! The one idea: a driver exists when it has a line in its block's list; finding, refusing and listing read only that.
//! Must never open a driver that is not hosted in platform mode, whatever its own `open` would do.

use std::sync::Arc;

use crate::catalog::{Catalog, CatalogField, ComponentType};
use crate::driver::Fields;
use crate::{Driver, Hosted, MetadataError, OpenContext, OpenError};

/// The drivers of one building block.
pub struct Registry<S: ?Sized + 'static> {
    /// What a component of this block is called, as messages have it: `secret store`.
    pub what: &'static str,
    /// Name of the block and the fields that every component of it takes, where there are such.
    pub common: Option<(&'static str, Fields)>,
    /// Every driver, in alphabetical order of their types.
    pub drivers: &'static [Driver<S>],
}

impl<S: ?Sized + 'static> Registry<S> {
    /// The driver for a component type and version (empty = `v1`).
    pub fn find(&self, type_name: &str, version: &str) -> Option<&'static Driver<S>> {
        self.drivers.iter().find(|driver| driver.matches(type_name, version))
    }

    /// Opens a component of a type and version. In platform mode drivers that touch the machine are refused.
    ///
    /// # Errors
    /// When there is no such driver, it may not run here, or it refuses the component.
    pub async fn open(&self, type_name: &str, version: &str, context: OpenContext) -> Result<Arc<S>, OpenError> {
        let Some(driver) = self.find(type_name, version) else {
            return Err(self.unknown(type_name, version));
        };
        if driver.hosted == Hosted::Refused && context.hosting.is_platform() {
            return Err(OpenError::NotAllowed(format!(
                "{type_name} is only for processes of your own"
            )));
        }
        let version = version.to_owned();
        (driver.open)(OpenContext { version, ..context }).await
    }

    /// The catalog of these drivers, for the generator.
    pub fn catalog(&self) -> Catalog {
        let common = self.common.map(|(block, fields)| {
            let fields = fields().iter().map(CatalogField::from).collect();
            (block.to_owned(), fields)
        });
        Catalog {
            components: self.drivers.iter().map(ComponentType::of).collect(),
            common: common.into_iter().collect(),
        }
    }

    fn unknown(&self, type_name: &str, version: &str) -> OpenError {
        let named = self
            .drivers
            .iter()
            .find(|driver| driver.matches(type_name, driver.versions[0]));
        if let Some(driver) = named {
            return OpenError::Metadata(MetadataError::new(
                "spec.version",
                format!("{type_name} has no version '{version}'"),
                format!("use one of: {}", driver.versions.join(", ")),
            ));
        }
        let version = if version.is_empty() { "v1" } else { version };
        let known: Vec<&str> = self.drivers.iter().map(|driver| driver.type_name).collect();
        OpenError::Metadata(MetadataError::new(
            "spec.type",
            format!("couldn't find {} {type_name}/{version}", self.what),
            format!("use one of: {}", known.join(", ")),
        ))
    }
}
