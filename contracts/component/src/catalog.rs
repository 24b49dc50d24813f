//! The generated list of all drivers: what a component type is called, which metadata it takes, which of it is secret.
//!
//! The one idea: whoever handles Components without linking a driver (the control plane, the CLI) reads this list and
//! nothing else. It is generated from the drivers' own declarations (`cargo xtask generate`) and committed as
//! `catalog.json`. It decides secrecy on the safe side: an unknown field that looks like a secret is one.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::driver::Driver;
use crate::metadata::{FieldSpec, parse_duration};

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

    /// Everything that is wrong with a submitted component. Unknown names are, although Dapr ignores them: a misspelt password would
    /// be kept in clear.
    pub fn validate(&self, type_name: &str, version: &str, entries: &[Entry<'_>]) -> Vec<Problem> {
        let Some(component) = self.find(type_name, version) else {
            return vec![self.unknown_type(type_name, version)];
        };
        let mut problems = Vec::new();
        for field in component.fields.iter().filter(|field| field.required) {
            let given = entries
                .iter()
                .any(|entry| field.is_named(entry.name) && entry.value != Some(""));
            if !given {
                problems.push(Problem {
                    path: "spec.metadata".into(),
                    message: format!("'{}' is required for {type_name}: add it", field.name),
                });
            }
        }
        for (index, entry) in entries.iter().enumerate() {
            if entry.name.is_empty() {
                problems.push(Problem {
                    path: format!("spec.metadata[{index}].name"),
                    message: "a name is required".into(),
                });
            } else if entries[..index]
                .iter()
                .any(|earlier| earlier.name.eq_ignore_ascii_case(entry.name))
            {
                problems.push(Problem {
                    path: format!("spec.metadata[{index}].name"),
                    message: format!("'{}' is given twice: remove one", entry.name),
                });
            }
            let Some(field) = self.field(type_name, version, entry.name) else {
                if !entry.name.is_empty() {
                    problems.push(Problem {
                        path: format!("spec.metadata[{index}].name"),
                        message: self.unknown_setting(component, entry.name),
                    });
                }
                continue;
            };
            let Some(value) = entry.value else { continue };
            if let Some(message) = field.complaint(value) {
                problems.push(Problem {
                    path: format!("spec.metadata[{index}].value"),
                    message,
                });
            }
        }
        problems
    }

    fn unknown_type(&self, type_name: &str, version: &str) -> Problem {
        match self.components.iter().find(|component| component.is_named(type_name)) {
            Some(component) => Problem {
                path: "spec.version".into(),
                message: format!(
                    "{type_name} has no version '{version}': use one of: {}",
                    component.versions.join(", ")
                ),
            },
            None => {
                let known: Vec<&str> = self
                    .components
                    .iter()
                    .map(|component| component.type_name.as_str())
                    .collect();
                Problem {
                    path: "spec.type".into(),
                    message: format!(
                        "component type '{type_name}' is not known: use one of: {}",
                        known.join(", ")
                    ),
                }
            }
        }
    }

    fn unknown_setting(&self, component: &ComponentType, name: &str) -> String {
        let type_name = &component.type_name;
        let known = || component.fields.iter().chain(self.common_fields(type_name));
        let wanted = name.to_ascii_lowercase();
        let nearest = known()
            .flat_map(|field| std::iter::once(&field.name).chain(&field.aliases))
            .map(|known| {
                let distance = strsim::damerau_levenshtein(&wanted, &known.to_ascii_lowercase());
                (distance, known)
            })
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, known)| *distance <= known.len().max(wanted.len()) / 3);
        match nearest {
            Some((_, known)) => format!("'{name}' is not a setting of {type_name}: did you mean {known}?"),
            None => {
                let names: Vec<&str> = known().map(|field| field.name.as_str()).collect();
                format!(
                    "'{name}' is not a setting of {type_name}: use one of: {}",
                    names.join(", ")
                )
            }
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
    pub fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }

    fn complaint(&self, value: &str) -> Option<String> {
        if value.is_empty() {
            return None;
        }
        if !self.allowed.is_empty() && !self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(value)) {
            return Some(format!("'{}' must be one of: {}", self.name, self.allowed.join(", ")));
        }
        let trimmed = value.trim();
        let expected = match self.kind.as_str() {
            "number" if trimmed.parse::<i64>().is_err() => "a whole number",
            "duration"
                if trimmed.parse::<i64>().is_err()
                    && parse_duration(trimmed, std::time::Duration::from_secs(1)).is_err() =>
            {
                "a duration such as '500ms', '20s' or '1h30m'"
            }
            "bool" if <bool as crate::metadata::FieldType>::parse(trimmed).is_err() => "'true' or 'false'",
            _ => return None,
        };
        Some(format!("'{}' must be {expected}", self.name))
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
