//! A secret that was just extracted, in clear somewhere else in the same object: in an annotation that a tool copied the whole file
//! into, in a setting of another name.
//!
//! Must never put the secret into the complaint, nor a key that holds it.

use palladium_kinds::FieldError;
use palladium_kinds::secret_ref::MANAGED_STORE;
use serde_json::{Map, Value};

use crate::extract::Beside;

/// Shorter ones are parts of ordinary words; refusing those would refuse honest objects.
const SHORTEST: usize = 8;

/// One complaint per place. `secrets` = path and text of each.
pub(crate) fn found(secrets: &[(String, String)], content: &Map<String, Value>, beside: Beside<'_>) -> Vec<FieldError> {
    let secrets: Vec<_> = secrets.iter().filter(|(_, secret)| secret.len() >= SHORTEST).collect();
    let mut errors = Vec::new();
    let mut check = |path: &str, text: &str| {
        if let Some((field, _)) = secrets.iter().find(|(_, secret)| text.contains(secret.as_str())) {
            errors.push(FieldError {
                field: path.to_owned(),
                reason: format!("holds the secret of {field} in clear"),
                remedy: "remove it there, or choose a secret that is no part of other settings".into(),
            });
        }
    };
    if secrets.is_empty() {
        return errors;
    }
    for (key, value) in content {
        walk(key, value, &mut check);
    }
    for (path, map) in [
        ("metadata.labels", beside.labels),
        ("metadata.annotations", beside.annotations),
    ] {
        for (key, value) in map {
            // A key that holds a secret is not named.
            if secrets.iter().any(|(_, secret)| key.contains(secret.as_str())) {
                check(path, key);
            } else {
                check(&format!("{path}.{key}"), value);
            }
        }
    }
    errors
}

fn walk(path: &str, value: &Value, check: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => check(path, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(&format!("{path}[{index}]"), item, check);
            }
        }
        // Written by extraction itself.
        Value::Object(map)
            if map.contains_key("key") && map.get("name").and_then(Value::as_str) == Some(MANAGED_STORE) => {}
        Value::Object(map) => {
            for (key, value) in map {
                walk(&format!("{path}.{key}"), value, check);
            }
        }
        _ => {}
    }
}
