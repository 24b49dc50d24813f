//! From a JSON body to a [`Draft`]: strict, with the path of whatever is wrong.
//!
//! One idea: unknown fields are refused by name and path, so that a typo in a security setting is an error and not a silence.
//!
//! Must never: quote a submitted value in an error (it may be a secret); serde's messages are reduced to their kind.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::definition::KindDefinition;
use crate::error::FieldErrors;
use crate::meta::{Draft, MetadataInput};
use crate::names;

const KUBECTL_COPY: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Decodes `value` strictly; `prefix` is put before the path of a complaint.
pub fn strict<T: DeserializeOwned>(prefix: &str, value: Value) -> Result<T, FieldErrors> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner().to_string();
        explain(prefix, &path, &inner)
    })
}

/// Turns serde's message into field, reason and remedy without repeating any value.
fn explain(prefix: &str, path: &str, message: &str) -> FieldErrors {
    let mut field = match (prefix.is_empty(), path) {
        (_, ".") => prefix.to_owned(),
        (true, path) => path.to_owned(),
        (false, path) => format!("{prefix}.{path}"),
    };
    let quoted = |message: &str| message.split('`').nth(1).unwrap_or_default().to_owned();
    if message.starts_with("unknown field") {
        let name = quoted(message);
        if !field.ends_with(&name) {
            field = if field.is_empty() {
                name
            } else {
                format!("{field}.{name}")
            };
        }
        let known = message
            .split_once("expected")
            .map(|(_, known)| known.trim().replace('`', ""))
            .unwrap_or_default();
        let known = known.trim_start_matches("one of ").to_owned();
        return FieldErrors::one(field, "unknown field", format!("known here: {known}"));
    }
    if message.starts_with("missing field") {
        let name = quoted(message);
        let field = if field.is_empty() {
            name
        } else {
            format!("{field}.{name}")
        };
        return FieldErrors::one(field, "is missing", "add it");
    }
    if message.starts_with("unknown variant") {
        let known = message
            .split_once("expected")
            .map(|(_, known)| known.trim().replace('`', ""))
            .unwrap_or_default();
        return FieldErrors::one(field, "unknown value", format!("use {known}"));
    }
    let expected = message
        .split_once("expected ")
        .map(|(_, expected)| expected.trim().to_owned())
        .unwrap_or_default();
    FieldErrors::one(
        field,
        "wrong type or form",
        if expected.is_empty() {
            String::new()
        } else {
            format!("expected {expected}")
        },
    )
}

/// Decodes a request body for `kind`: envelope, metadata, content; applies defaults and all rules that need no stored state.
pub fn draft(kind: &KindDefinition, body: Value) -> Result<Draft, FieldErrors> {
    let Value::Object(mut body) = body else {
        return Err(FieldErrors::one("", "the body is not a JSON object", "send one object"));
    };
    let mut errors = FieldErrors::default();
    check_word(&mut body, "apiVersion", kind.api_versions, &mut errors);
    check_word(&mut body, "kind", &[kind.kind], &mut errors);
    // Status is the platform's to write; clients send it back because they read it.
    body.remove("status");
    let metadata = body.remove("metadata").unwrap_or(Value::Object(Map::new()));
    let metadata: MetadataInput = strict("metadata", metadata)?;
    errors.into_result()?;

    let mut errors = FieldErrors::default();
    let name = match metadata
        .name
        .as_deref()
        .map(|name| kind.names.canonical(name))
        .transpose()
    {
        Ok(name) => name,
        Err(found) => {
            errors.extend(found.0);
            None
        }
    };
    let labels = metadata.labels.unwrap_or_default();
    let mut annotations = metadata.annotations.unwrap_or_default();
    // kubectl's copy of the whole file, secrets in clear; it means nothing here.
    annotations.remove(KUBECTL_COPY);
    names::check_map("metadata.labels", &labels, 256, &mut errors);
    names::check_map("metadata.annotations", &annotations, 4096, &mut errors);
    let content = match (kind.normalize)(Value::Object(body)) {
        Ok(content) => content,
        Err(found) => {
            errors.extend(found.0);
            Map::new()
        }
    };
    errors.into_result()?;
    Ok(Draft {
        name,
        uid: metadata.uid.filter(|uid| !uid.is_empty()),
        project_id: metadata.project_id.filter(|id| !id.is_empty()),
        resource_version: metadata.resource_version.filter(|version| *version != 0),
        labels,
        annotations,
        content,
    })
}

fn check_word(body: &mut Map<String, Value>, field: &str, accepted: &[&str], errors: &mut FieldErrors) {
    match body.remove(field) {
        None => {}
        Some(Value::String(word)) if accepted.contains(&word.as_str()) => {}
        Some(_) => errors.push(
            field,
            "is not what this path serves",
            format!("use {}", accepted.join(" or ")),
        ),
    }
}
