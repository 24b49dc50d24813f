//! Where secrets can stand in the content of a kind, as slots that can be read and replaced.
//!
//! Must never know what happens to the values.

use std::collections::BTreeMap;

use palladium_component::catalog::{Catalog, Entry};
use palladium_kinds::component::SETTINGS;
use palladium_kinds::definition::{KindDefinition, Sensitive};
use palladium_kinds::headers;
use palladium_kinds::secret_ref::{SecretKeyRef, is_mask};
use serde_json::{Map, Value, json};

/// What stands in a slot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A secret in clear.
    Clear(String),
    /// The mask.
    Mask,
    /// A reference into the managed store.
    Reference(SecretKeyRef),
}

/// All slots with something in them, by path.
pub(crate) fn slots(kind: &KindDefinition, catalog: &Catalog, content: &Map<String, Value>) -> Vec<(String, Found)> {
    match kind.sensitive {
        Sensitive::Nothing => Vec::new(),
        Sensitive::Fields(paths) => paths
            .iter()
            .filter_map(|path| Some(((*path).to_owned(), found(at(content, path)?, |_| true)?)))
            .collect(),
        Sensitive::ComponentMetadata => {
            let spec = content.get("spec");
            let text = |key: &str| {
                spec.and_then(|spec| spec.get(key))
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let (type_name, version) = (text("type"), text("version"));
            items(content)
                .filter_map(|item| {
                    let name = item.get("name")?.as_str()?;
                    let sensitive = |value: &str| {
                        catalog.is_sensitive(
                            type_name,
                            version,
                            Entry {
                                name,
                                value: Some(value),
                            },
                        )
                    };
                    let found = match item.get("value") {
                        Some(value) => found(value, sensitive),
                        None => found(item, |_| false),
                    };
                    Some((format!("{SETTINGS}.{name}"), found?))
                })
                .collect()
        }
        Sensitive::Values { lists, single } => {
            let named = lists.iter().flat_map(|list| {
                let items = at(content, list).and_then(Value::as_array).into_iter().flatten();
                items.filter_map(move |item| {
                    let name = item.get("name")?.as_str()?;
                    Some((format!("{list}.{name}"), in_slot(item, !headers::is_plain(name))?))
                })
            });
            let single = single
                .iter()
                .filter_map(|path| Some(((*path).to_owned(), in_slot(at(content, path)?, true)?)));
            named.chain(single).collect()
        }
    }
}

/// What stands in an object with `value` or `secretKeyRef`.
fn in_slot(slot: &Value, is_secret: bool) -> Option<Found> {
    match slot.get("value") {
        Some(value) => found(value, |_| is_secret),
        None => found(slot, |_| false),
    }
}

/// Puts a reference where a secret was.
pub(crate) fn put_reference(
    kind: &KindDefinition,
    content: &mut Map<String, Value>,
    path: &str,
    reference: &SecretKeyRef,
) {
    let reference = json!({ "name": reference.name, "key": reference.key });
    match kind.sensitive {
        Sensitive::Nothing => {}
        Sensitive::Fields(_) => {
            if let Some(value) = at_mut(content, path) {
                *value = json!({ "secretKeyRef": reference });
            }
        }
        Sensitive::ComponentMetadata | Sensitive::Values { .. } => {
            if let Some(slot) = slot_mut(kind, content, path) {
                slot.remove("value");
                slot.insert("secretKeyRef".into(), reference);
            }
        }
    }
}

/// Puts text where a reference is: the mask, or a value for a permitted reader.
pub(crate) fn put_text(kind: &KindDefinition, content: &mut Map<String, Value>, path: &str, text: &str) {
    match kind.sensitive {
        Sensitive::Nothing => {}
        Sensitive::Fields(_) => {
            if let Some(value) = at_mut(content, path) {
                *value = text.into();
            }
        }
        Sensitive::ComponentMetadata | Sensitive::Values { .. } => {
            if let Some(slot) = slot_mut(kind, content, path) {
                slot.remove("secretKeyRef");
                slot.insert("value".into(), text.into());
            }
        }
    }
}

/// The part of the content that decides where the secrets at `kept` are sent. Other secrets count by their fingerprint: an address
/// may hold a password and be one itself.
pub(crate) fn pointing(
    kind: &KindDefinition,
    catalog: &Catalog,
    kept: &[String],
    fingerprints: &BTreeMap<String, Vec<u8>>,
    content: &Map<String, Value>,
) -> Value {
    match kind.sensitive {
        Sensitive::ComponentMetadata => {
            let spec = content.get("spec");
            let get = |key: &str| spec.and_then(|spec| spec.get(key));
            let text = |key: &str| get(key).and_then(Value::as_str).unwrap_or_default();
            let mut settings: Vec<(String, Value)> = items(content)
                .filter_map(|item| Some((item.get("name")?.as_str()?, item)))
                .filter(|(name, _)| !catalog.is_local(text("type"), text("version"), name))
                .filter_map(|(name, item)| {
                    let path = format!("{SETTINGS}.{name}");
                    if kept.contains(&path) {
                        return None;
                    }
                    let plain = || item.get("value").or_else(|| item.get("secretKeyRef")).cloned();
                    let value = match fingerprints.get(&path) {
                        Some(fingerprint) => Some(json!({ "fingerprint": fingerprint })),
                        None => plain(),
                    };
                    Some((name.to_ascii_lowercase(), value.unwrap_or_default()))
                })
                .collect();
            settings.sort_by(|a, b| a.0.cmp(&b.0));
            json!({ "metadata": settings, "version": get("version"), "auth": content.get("auth") })
        }
        _ => {
            let place = |path: &str| match fingerprints.get(path) {
                Some(_) if kept.iter().any(|kept| kept == path) => Value::Null,
                Some(fingerprint) => json!({ "fingerprint": fingerprint }),
                None => at(content, path).cloned().unwrap_or_default(),
            };
            kind.pointing.iter().map(|path| place(path)).collect()
        }
    }
}

fn found(value: &Value, sensitive: impl Fn(&str) -> bool) -> Option<Found> {
    if let Some(text) = value.as_str() {
        return match text {
            "" => None,
            mask if is_mask(mask) => Some(Found::Mask),
            secret if sensitive(secret) => Some(Found::Clear(secret.to_owned())),
            _ => None,
        };
    }
    let reference: SecretKeyRef = serde_json::from_value(value.get("secretKeyRef")?.clone()).ok()?;
    reference.is_managed().then_some(Found::Reference(reference))
}

fn at<'a>(content: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let start = content.get(first)?;
    rest.split('.')
        .filter(|part| !part.is_empty())
        .try_fold(start, |value, part| value.get(part))
}

fn at_mut<'a>(content: &'a mut Map<String, Value>, path: &str) -> Option<&'a mut Value> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let start = content.get_mut(first)?;
    rest.split('.')
        .filter(|part| !part.is_empty())
        .try_fold(start, |value, part| value.get_mut(part))
}

fn items(content: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    content
        .get("spec")
        .and_then(|spec| spec.get("metadata"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The object with `value` or `secretKeyRef` that a path of [`slots`] means.
fn slot_mut<'a>(
    kind: &KindDefinition,
    content: &'a mut Map<String, Value>,
    path: &str,
) -> Option<&'a mut Map<String, Value>> {
    let lists: &[&'static str] = match kind.sensitive {
        Sensitive::Values { single, .. } if single.contains(&path) => return at_mut(content, path)?.as_object_mut(),
        Sensitive::Values { lists, .. } => lists,
        _ => &[SETTINGS],
    };
    let in_list = |list: &&'static str| {
        path.strip_prefix(*list)?
            .strip_prefix('.')
            .map(move |name| (*list, name))
    };
    let (list, name) = lists.iter().find_map(in_list)?;
    let items = at_mut(content, list)?.as_array_mut()?;
    items
        .iter_mut()
        .filter_map(Value::as_object_mut)
        .find(|item| item.get("name").and_then(Value::as_str) == Some(name))
}
