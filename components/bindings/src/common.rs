//! Metadata that every binding takes, whatever its driver. Read by the runtime.
//!
//! Must never hold a field that only one driver reads.

use palladium_component::{ComponentMetadata, Properties};

/// Metadata of the building block.
#[derive(Debug, ComponentMetadata)]
pub struct BindingMetadata {
    /// What it is used for: 'input', 'output', or both with a comma between. What its driver can do when absent; 'input'
    /// also means that events are wanted without asking the application.
    pub direction: Option<String>,
    /// The application's path for its events; the component's name when absent.
    pub route: Option<String>,
}

/// What a component is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Its events are wanted.
    pub input: bool,
    /// It may be called.
    pub output: bool,
    /// Its events are wanted without asking the application.
    pub unasked: bool,
    /// The application's path for its events, if said.
    pub route: Option<String>,
}

impl Use {
    /// By its metadata.
    pub fn read(properties: &Properties) -> Self {
        // Texts only: nothing that can be wrong.
        let (direction, route) = BindingMetadata::parse(properties)
            .map(|metadata| (metadata.direction, metadata.route))
            .unwrap_or_default();
        let says = |wanted: &str| {
            let words = direction.as_deref().unwrap_or_default().split(',');
            words.map(str::trim).any(|word| word.eq_ignore_ascii_case(wanted))
        };
        Self {
            input: direction.is_none() || says("input"),
            output: direction.is_none() || says("output"),
            unasked: says("input"),
            route,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_words_with_commas() {
        let read = |pairs: &[(&str, &str)]| Use::read(&pairs.iter().copied().collect());
        let as_is = read(&[]);
        assert!(as_is.input && as_is.output && !as_is.unasked && as_is.route.is_none());
        let both = read(&[("direction", "Input , OUTPUT"), ("route", "/r")]);
        assert!(both.input && both.output && both.unasked && both.route.as_deref() == Some("/r"));
        let out = read(&[("Direction", "output")]);
        assert!(!out.input && out.output && !out.unasked);
    }
}
