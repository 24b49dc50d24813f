//! Resource files: YAML and JSON as users write them, read by a Dapr Server and by the control plane.
//!
//! One idea: nothing gets lost on the way: a document that was taken is the same when it is written as JSON and read again,
//! the control plane's canonical form is a fixed point, and what the control plane accepts the region reads with the same
//! meaning. No reason for a refusal repeats a value. Must never judge what a component's type makes of its settings.

use palladium_kinds::component::KIND;
use palladium_kinds::decode::draft;
use serde_json::{Map, Value, json};

use crate::dapr_server::resources::{Component, Declared, References};

const CANARY: &str = "c4n4ry-of-a-secret";
const APP: &str = "app";

/// One file.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut declared = Declared::default();
    declared.take(text, APP, "ns", &env);
    for component in &declared.components {
        let mut settings = component.properties.expose();
        // Elsewhere in the file it would be no value of a setting.
        let is_value = text.matches(CANARY).count() == 1 && settings.any(|(_, value)| value == CANARY);
        assert!(
            !is_value || !format!("{component:?}").contains(CANARY),
            "a value is shown"
        );
    }
    for document in text.split("\n---\n").filter_map(parsed) {
        read_again(&document);
        told_without_values(document.clone());
        decided_by_both(document);
    }
}

fn env(name: &str) -> Option<String> {
    assert!(
        !name.starts_with("DAPR_") && name != "APP_API_TOKEN",
        "the process's own {name} was asked for"
    );
    Some(format!("value of {name}"))
}

/// A document by itself, as the product's parser has it.
fn parsed(document: &str) -> Option<Value> {
    let options = serde_saphyr::options! { duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins };
    serde_saphyr::from_str_with_options(document, options).ok()
}

fn taken(text: &str) -> Declared {
    let mut declared = Declared::default();
    declared.take(text, APP, "", &env);
    declared
}

/// Written as JSON and read again it is the same.
fn read_again(document: &Value) {
    let kinds = document.as_object().into_iter().flatten();
    if kinds.filter(|(name, _)| name.eq_ignore_ascii_case("kind")).count() > 1 {
        // Which of them counts is not said.
        return;
    }
    let direct = Component::read(document.clone(), APP, "", References::Environment(&env));
    if let (Ok(Some(first)), Some("Component")) = (direct, document.get("kind").and_then(Value::as_str)) {
        let again = taken(&document.to_string());
        let [second] = again.components.as_slice() else {
            panic!("{} components of one document", again.components.len());
        };
        let properties = |one: &Component| -> Vec<(String, String)> {
            let all = one.properties.expose();
            all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let (one, other) = (properties(&first), properties(second));
        // A random id is drawn anew.
        if !document.to_string().contains("{uuid}") {
            assert_eq!(one.len(), other.len(), "a setting got lost");
            for (one, other) in one.iter().zip(&other) {
                assert!(one.0 == other.0 && same(&one.1, &other.1), "{one:?} became {other:?}");
            }
        }
        assert_eq!(
            (&first.name, &first.kind, &first.version),
            (&second.name, &second.kind, &second.version)
        );
        assert_eq!(
            (first.init_timeout, first.ignore_errors),
            (second.init_timeout, second.ignore_errors)
        );
        assert_eq!(
            (first.unresolved, &first.secret_store),
            (second.unresolved.clone(), &second.secret_store)
        );
    }
}

/// A number with a fraction may lose its last digit in another reading.
fn same(one: &str, other: &str) -> bool {
    let numbers = one.parse::<f64>().ok().zip(other.parse::<f64>().ok());
    let close = numbers.is_some_and(|(one, other)| (one - other).abs() <= one.abs() * 1e-12);
    let nested = one.starts_with(['[', '{']) && one.contains('.');
    one == other || close || nested
}

/// Every value of a setting is a canary: no refusal may repeat it.
fn told_without_values(mut document: Value) {
    // Names are told, and may be anything.
    if document.to_string().contains(CANARY) {
        return;
    }
    for list in ["/spec/metadata", "/spec/headers"] {
        for pair in document
            .pointer_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(value) = pair.get_mut("value") {
                *value = match value.take() {
                    Value::Array(_) => json!([CANARY]),
                    Value::Object(_) => json!({ CANARY: CANARY }),
                    _ => CANARY.into(),
                };
            }
        }
    }
    let mut declared = Declared::default();
    let mut reasons = declared.take(&document.to_string(), APP, "", &env);
    reasons.extend(draft(&KIND, document).err().map(|errors| format!("{errors:?}")));
    for reason in reasons {
        assert!(!reason.contains(CANARY), "a value is told: {reason}");
    }
}

/// What the control plane takes is in one form, and the region reads it.
fn decided_by_both(document: Value) {
    let Ok(accepted) = draft(&KIND, document) else {
        return;
    };
    let mut body = Map::new();
    body.insert(
        "metadata".to_owned(),
        json!({ "name": accepted.name, "labels": accepted.labels }),
    );
    body.extend(accepted.content.clone());
    let again = draft(&KIND, Value::Object(body.clone())).expect("what was accepted is accepted again");
    assert_eq!(
        (&again.name, &again.content),
        (&accepted.name, &accepted.content),
        "the canonical form is a fixed point"
    );

    body.insert("scopes".to_owned(), json!([]));
    let content = &accepted.content;
    let read = Component::read(Value::Object(body), APP, "ns", References::Resolved).expect("the region reads it");
    let read = read.expect("it has no scopes");
    let spec = content.get("spec").expect("a spec");
    assert_eq!(Some(read.kind.as_str()), spec["type"].as_str());
    assert_eq!(Some(read.version.as_str()), spec["version"].as_str());
    assert_eq!(read.name, accepted.name.unwrap_or_default());
    for pair in spec["metadata"].as_array().into_iter().flatten() {
        let name = pair["name"].as_str().expect("a name");
        if let Some(value) = pair.get("value").and_then(Value::as_str) {
            assert!(
                value.contains('{') || read.properties.get(name) == Some(value),
                "{name} has another value"
            );
        } else if pair.get("secretKeyRef").is_some() {
            let known = |field: &String| field == name;
            let told = read.unresolved.iter().any(|(field, _)| known(field));
            assert!(
                told || read.references.iter().any(|one| known(&one.field)),
                "{name} is neither resolved nor missed"
            );
        }
    }
}
