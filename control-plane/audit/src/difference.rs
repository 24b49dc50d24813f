//! Field by field: what a change did to an object.
//!
//! The one idea: both sides are flattened to path → value, secrets (known by path) as keyed hashes; what differs is the
//! record.
//!
//! Must never put a secret into a difference.

use std::collections::{BTreeMap, BTreeSet};

use palladium_kinds::audit_event::FieldChange;
use palladium_sealing::sha256;
use serde_json::{Map, Value, json};

use crate::clean::clean;

/// Longest value shown, bytes; longer ones are cut (the hashes of the whole objects tell them apart).
const VALUE_MAX: usize = 1024;
/// Most fields listed.
const FIELDS_MAX: usize = 200;

/// One side of a change.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// `spec` and what stands beside it, without secrets; labels and annotations may be among it.
    pub content: &'a Map<String, Value>,
    /// Keyed hashes of the secrets, by path.
    pub secrets: &'a BTreeMap<String, Vec<u8>>,
}

/// What differs; an absent side stands for an object that does not exist.
pub fn difference(before: Option<Side<'_>>, after: Option<Side<'_>>) -> Vec<FieldChange> {
    let (before, after) = (
        before.map(flatten).unwrap_or_default(),
        after.map(flatten).unwrap_or_default(),
    );
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    differing
        .take(FIELDS_MAX)
        .map(|path| FieldChange {
            field: clean(path, 256),
            before: before.get(path).map(shown),
            after: after.get(path).map(shown),
        })
        .collect()
}

/// SHA-256 of a whole side, hexadecimal; equal content and secrets give equal hashes.
pub fn hash(side: Side<'_>) -> String {
    let text = serde_json::to_vec(&flatten(side)).unwrap_or_default();
    hex(&sha256(&text))
}

fn flatten(side: Side<'_>) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for (key, value) in side.content {
        walk(key, value, &mut out);
    }
    for (path, digest) in side.secrets {
        let beneath = format!("{path}.");
        out.retain(|known, _| known != path && !known.starts_with(&beneath));
        out.insert(path.clone(), json!({ "keyedHash": hex(digest) }));
    }
    out
}

fn walk(path: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                walk(&format!("{path}.{key}"), value, out);
            }
        }
        // Named items (a component's settings) are known by their name, so that inserting one is one change.
        Value::Array(items)
            if !items.is_empty() && items.iter().all(|item| item.get("name").is_some_and(Value::is_string)) =>
        {
            for item in items {
                let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
                let rest: Map<String, Value> = match item {
                    Value::Object(map) => map
                        .iter()
                        .filter(|(key, _)| *key != "name")
                        .map(|(k, v)| (k.clone(), v.clone()))
                        .collect(),
                    _ => Map::new(),
                };
                match rest.get("value") {
                    Some(value) if rest.len() == 1 => walk(&format!("{path}.{name}"), value, out),
                    _ => walk(&format!("{path}.{name}"), &Value::Object(rest), out),
                }
            }
        }
        leaf => {
            out.insert(path.to_owned(), leaf.clone());
        }
    }
}

fn shown(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(text, VALUE_MAX)),
        Value::Array(_) | Value::Object(_) => {
            let text = value.to_string();
            if text.len() > VALUE_MAX {
                Value::String(clean(&text, VALUE_MAX))
            } else {
                cleaned(value)
            }
        }
        other => other.clone(),
    }
}

fn cleaned(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(text, VALUE_MAX)),
        Value::Array(items) => Value::Array(items.iter().map(cleaned).collect()),
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (clean(k, 256), cleaned(v))).collect()),
        other => other.clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn only_what_differs_is_listed_and_secrets_are_hashes() {
        let before = map(json!({"spec": {"type": "state.redis", "metadata": [
            {"name": "redisHost", "value": "a"}, {"name": "redisPassword", "secretKeyRef": {"name": "palladium", "key": "u/f"}}]}}));
        let after = map(json!({"spec": {"type": "state.redis", "metadata": [
            {"name": "redisHost", "value": "b"}, {"name": "redisPassword", "secretKeyRef": {"name": "palladium", "key": "u/f"}}]}}));
        let field = "spec.metadata.redisPassword".to_owned();
        let (old, new) = (
            BTreeMap::from([(field.clone(), vec![1])]),
            BTreeMap::from([(field, vec![2])]),
        );
        let (before, after) = (
            Side {
                content: &before,
                secrets: &old,
            },
            Side {
                content: &after,
                secrets: &new,
            },
        );
        let changes = difference(Some(before), Some(after));
        let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
        assert_eq!(fields, ["spec.metadata.redisHost", "spec.metadata.redisPassword"]);
        assert_eq!(changes[1].after, Some(json!({"keyedHash": "02"})));
        assert_ne!(hash(before), hash(after));
        assert!(difference(Some(before), Some(before)).is_empty());
        assert_eq!(difference(None, Some(after)).len(), 3);
    }
}
