//! What a reader sees in place of a secret.
//!
//! Must never decide who may read.

use palladium_component::catalog::catalog;
use palladium_kinds::definition::{KindDefinition, Sensitive};
use palladium_kinds::secret_ref::MASK;
use serde_json::{Map, Value};

use crate::fields::{self, Found};

/// Paths of the extracted secrets of a stored object.
pub fn secret_fields(kind: &KindDefinition, content: &Map<String, Value>) -> Vec<String> {
    let slots = fields::slots(kind, catalog(), content);
    slots
        .into_iter()
        .filter(|(_, found)| matches!(found, Found::Reference(_)))
        .map(|(path, _)| path)
        .collect()
}

/// Brings stored content into the form for readers: plain string fields show the mask; values that can be references
/// stay references, which say more and are accepted back all the same.
pub fn mask(kind: &KindDefinition, content: &mut Map<String, Value>) {
    if let Sensitive::Fields(paths) = kind.sensitive {
        for path in secret_fields(kind, content) {
            debug_assert!(paths.contains(&path.as_str()));
            fields::put_text(kind, content, &path, MASK);
        }
    }
}

/// Puts a secret back, for a permitted reader.
pub fn reveal(kind: &KindDefinition, content: &mut Map<String, Value>, path: &str, secret: &str) {
    fields::put_text(kind, content, path, secret);
}
