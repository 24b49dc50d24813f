//! A Resiliency as it is declared, as far as it says for whom it is.
//!
//! Must never look into the policies: the engine does, whole or not at all.

use serde::Deserialize;
use serde_json::Value;

use super::{ObjectMeta, in_scope, list};

/// A declared Resiliency.
#[derive(Clone, Debug, PartialEq)]
pub struct ResiliencyResource {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The policies and their targets.
    pub spec: Value,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default, deserialize_with = "list")]
    scopes: Vec<String>,
}

impl ResiliencyResource {
    /// Reads one document of kind Resiliency; `None` when it is not meant for this App ID.
    ///
    /// # Errors
    /// The message names the field.
    pub fn read(document: Value, app_id: &str) -> Result<Option<Self>, String> {
        let Manifest { metadata, spec, scopes } =
            serde_json::from_value(document).map_err(|error| format!("Resiliency: {error}"))?;
        if !in_scope(&scopes, app_id) {
            return Ok(None);
        }
        Ok(Some(Self {
            name: metadata.name,
            namespace: metadata.namespace,
            spec,
        }))
    }
}
