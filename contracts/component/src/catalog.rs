//! The generated list of all drivers: what a component type is called, which metadata it takes, which of it is secret.
//!
//! The one idea: whoever handles Components without linking a driver (the control plane, the CLI) reads this list and
//! nothing else. It is generated from the drivers' own declarations (`cargo xtask generate`) and committed as
//! `catalog.json`. It decides secrecy on the safe side: an unknown field that looks like a secret is one.
//!
//! Must never know a driver beyond what the list says.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::driver::Driver;
use crate::metadata::FieldSpec;

mod check;
mod secrecy_rules;

pub use secrecy_rules::{carries_credentials, holds_credentials, looks_secret};

/// All component types, and the metadata that belongs to a whole building block.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    /// One entry per driver, ordered by type.
    pub components: Vec<ComponentType>,
    /// Fields that every component of a building block takes, by building block (`state`).
    pub common: std::collections::BTreeMap<String, Vec<CatalogField>>,
}

/// One driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentType {
    /// For instance `state.redis`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Other names of the same driver.
    pub aliases: Vec<String>,
    /// Accepted versions.
    pub versions: Vec<String>,
    /// `alpha`, `beta` or `stable`.
    pub status: String,
    /// `allowed`, `confined` or `refused` in platform mode.
    pub hosted: String,
    /// The metadata fields.
    pub fields: Vec<CatalogField>,
    /// A Component that a user would write, as YAML.
    pub example: String,
}

/// One metadata field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogField {
    /// Name as Dapr spells it.
    pub name: String,
    /// Other accepted names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// `string`, `bool`, `number` or `duration`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether a component without it is refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// Whether its value is a secret.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sensitive: bool,
    /// Value when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The only accepted values; empty = any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// What it does, for people.
    pub description: String,
}

/// One submitted metadata item. `value` is `None` when it is a reference to a secret.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The name as submitted.
    pub name: &'a str,
    /// The value as text.
    pub value: Option<&'a str>,
}

/// Something wrong with a submitted component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the offending field, for instance `spec.metadata[2].value`.
    pub path: String,
    /// What is wrong and what to do. Never contains a submitted value.
    pub message: String,
}

/// The catalog of this build.
pub fn catalog() -> &'static Catalog {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../catalog.json"))
            .expect("invariant catalog_parses: the committed catalog is valid")
    });
    &CATALOG
}

impl Catalog {
    /// The driver for a type and version (empty = `v1`). Types, aliases and versions compare case-insensitively.
    pub fn find(&self, type_name: &str, version: &str) -> Option<&ComponentType> {
        let version = if version.is_empty() { "v1" } else { version };
        self.components.iter().find(|component| {
            component.is_named(type_name) && component.versions.iter().any(|own| own.eq_ignore_ascii_case(version))
        })
    }

    /// The part of one building block, such as `state`.
    #[must_use]
    pub fn block(&self, block: &str) -> Catalog {
        let of = |component: &&ComponentType| component.type_name.split('.').next() == Some(block);
        let common = self.common.get_key_value(block);
        Catalog {
            components: self.components.iter().filter(of).cloned().collect(),
            common: common
                .map(|(name, fields)| (name.clone(), fields.clone()))
                .into_iter()
                .collect(),
        }
    }

    /// Takes in the catalog of another building block.
    pub fn extend(&mut self, other: Catalog) {
        self.components.extend(other.components);
        self.components
            .sort_by(|one, other| one.type_name.cmp(&other.type_name));
        self.common.extend(other.common);
    }

    /// The field of that name or alias, own or of the building block, in any case.
    pub fn field(&self, type_name: &str, version: &str, name: &str) -> Option<&CatalogField> {
        let own = self
            .find(type_name, version)
            .map(|component| component.fields.as_slice())
            .unwrap_or_default();
        own.iter()
            .chain(self.common_fields(type_name))
            .find(|field| field.is_named(name))
    }

    /// Whether a submitted item has to be kept as a secret: the driver says so, or the name is that of a secret, or
    /// the value carries credentials (`redis://user:password@host`). Unknown types and names are judged by name.
    pub fn is_sensitive(&self, type_name: &str, version: &str, entry: Entry<'_>) -> bool {
        if entry.value.is_some_and(carries_credentials) {
            return true;
        }
        match self.field(type_name, version, entry.name) {
            Some(field) => field.sensitive,
            None => looks_secret(entry.name),
        }
    }

    /// Whether a setting has no say in where the component connects to, nor how: what a building block does with any of its
    /// components, and durations.
    pub fn is_local(&self, type_name: &str, version: &str, name: &str) -> bool {
        let own = self
            .find(type_name, version)
            .and_then(|component| component.fields.iter().find(|field| field.is_named(name)));
        match own {
            Some(field) => field.kind == "duration",
            None => self.common_fields(type_name).iter().any(|field| field.is_named(name)),
        }
    }

    fn common_fields(&self, type_name: &str) -> &[CatalogField] {
        let block = type_name.split('.').next().unwrap_or_default().to_lowercase();
        self.common.get(&block).map(Vec::as_slice).unwrap_or_default()
    }
}

impl ComponentType {
    /// The entry of a driver, for the generator.
    pub fn of<S: ?Sized>(driver: &Driver<S>) -> Self {
        ComponentType {
            type_name: driver.type_name.into(),
            aliases: owned(driver.aliases),
            versions: owned(driver.versions),
            status: driver.status.name().into(),
            hosted: driver.hosted.name().into(),
            fields: (driver.fields)().iter().map(CatalogField::from).collect(),
            example: driver.example.into(),
        }
    }

    fn is_named(&self, type_name: &str) -> bool {
        self.type_name.eq_ignore_ascii_case(type_name)
            || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(type_name))
    }
}

impl CatalogField {
    /// Whether the field goes by this name, in any case.
    fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }
}

impl From<&FieldSpec> for CatalogField {
    fn from(spec: &FieldSpec) -> Self {
        CatalogField {
            name: spec.name.into(),
            aliases: owned(spec.aliases),
            kind: spec.kind.into(),
            required: spec.required,
            sensitive: spec.sensitive,
            default: spec.default.map(Into::into),
            allowed: owned(spec.allowed),
            description: spec.description.into(),
        }
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests;
