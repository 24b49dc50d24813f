//! What is wrong with a submitted component, by the catalog: type, version, names and values of settings.
//!
//! The one idea: every complaint names its place and the remedy (the nearest known name, the accepted values).
//! Must never contain a submitted value.

use super::{Catalog, CatalogField, ComponentType, Entry, Problem};
use crate::metadata::parse_duration;

impl Catalog {
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
}

impl CatalogField {
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
