//! What every kind must have, checked over the registry; and properties of decoding.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decode;

fn example(kind: &KindDefinition) -> Value {
    serde_saphyr::from_str(kind.example).unwrap()
}

#[test]
fn every_example_is_accepted_and_is_a_fixed_point() {
    for kind in KINDS {
        let draft = decode::draft(kind, example(kind)).unwrap_or_else(|e| panic!("{}: {e}", kind.kind));
        let again = (kind.normalize)(Value::Object(draft.content.clone())).unwrap();
        assert_eq!(again, draft.content, "{}", kind.kind);
        (kind.check_update)(&draft.content, &draft.content).unwrap();
    }
}

#[test]
fn actions_are_unique_and_named_by_their_plural() {
    let mut seen = std::collections::BTreeSet::new();
    for action in actions() {
        assert!(seen.insert(action.name), "{} twice", action.name);
    }
    for kind in KINDS {
        assert!(kind.crud.get.name.starts_with(kind.plural));
    }
}

#[test]
fn unknown_fields_are_refused_with_their_path() {
    let cases = [
        (
            "AppIdentity",
            json!({"spec": {"appEndpoint": {"ulr": "x"}}}),
            "spec.appEndpoint.ulr",
        ),
        ("AppIdentity", json!({"spec": {"roles": ["admin"]}}), "spec.roles"),
        (
            "AppIdentity",
            json!({"metadata": {"name": "a", "orgId": "x"}}),
            "metadata.orgId",
        ),
        ("AppIdentity", json!({"orgId": "x"}), "orgId"),
        (
            "Component",
            json!({"spec": {"type": "state.redis", "metadata": [{"name": "a", "vlaue": "s3cret"}]}}),
            "spec.metadata[0].vlaue",
        ),
        ("Project", json!({"spec": {"healthCheck": {}}}), "spec.healthCheck"),
    ];
    for (kind, body, path) in cases {
        let error = decode::draft(by_kind(kind).unwrap(), body).unwrap_err();
        assert_eq!(error.0[0].field, path, "{error}");
        assert_eq!(error.0[0].reason, "unknown field");
    }
}

#[test]
fn a_wrong_type_never_repeats_the_value() {
    let body = json!({"spec": {"type": "state.redis", "metadata": [{"name": 7, "value": "hunter2"}]}});
    assert!(
        !decode::draft(&component::KIND, body)
            .unwrap_err()
            .to_string()
            .contains("hunter2")
    );
    let body = json!({"spec": {"appEndpoint": "hunter2"}});
    let error = decode::draft(&app_identity::KIND, body).unwrap_err().to_string();
    assert!(
        !error.contains("hunter2") && error.contains("spec.appEndpoint"),
        "{error}"
    );
}

#[test]
fn a_components_type_cannot_change() {
    let content = |kind: &str| (component::KIND.normalize)(json!({"spec": {"type": kind}})).unwrap();
    let error = (component::KIND.check_update)(&content("state.redis"), &content("state.sqlite")).unwrap_err();
    assert_eq!(error.0[0].field, "spec.type");
    assert!(error.0[0].reason.contains("cannot be changed once created"));
}

#[test]
fn token_revisions_never_fall() {
    let content = |revision: u64, minimum: u64| {
        (app_identity::KIND.normalize)(
            json!({"spec": {"apiTokenRevision": revision, "apiTokenMinimumRevision": minimum}}),
        )
    };
    assert!(content(1, 2).is_err());
    let (old, lower, unrevoked) = (content(3, 3).unwrap(), content(2, 2).unwrap(), content(4, 1).unwrap());
    assert!((app_identity::KIND.check_update)(&old, &lower).is_err());
    assert!((app_identity::KIND.check_update)(&old, &unrevoked).is_err());
    assert!((app_identity::KIND.check_update)(&old, &content(4, 3).unwrap()).is_ok());
}

#[test]
fn sec_111_references_outside_of_the_project_are_refused() {
    for (store, name, key) in [
        ("vault", "../other-project/secret", "k"),
        ("vault", "secret", "../../k"),
        ("prj-abcdefghijkl/vault", "secret", "k"),
        ("../vault", "secret", "k"),
        ("", "secret", "k"),
    ] {
        let body = json!({
            "spec": {"type": "state.redis", "metadata": [{"name": "redisPassword", "secretKeyRef": {"name": name, "key": key}}]},
            "auth": {"secretStore": store},
        });
        assert!((component::KIND.normalize)(body).is_err(), "{store} {name} {key}");
    }
}

fn arbitrary_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let keys = prop_oneof![
            Just("spec".to_owned()),
            Just("metadata".to_owned()),
            Just("name".to_owned()),
            Just("type".to_owned()),
            Just("value".to_owned()),
            Just("appEndpoint".to_owned()),
            Just("scopes".to_owned()),
            "[a-z]{1,6}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys, inner), 0..5).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn decoding_never_panics_and_what_it_accepts_is_a_fixed_point(body in arbitrary_json()) {
        for kind in KINDS {
            if let Ok(draft) = decode::draft(kind, body.clone()) {
                let again = (kind.normalize)(Value::Object(draft.content.clone())).unwrap();
                prop_assert_eq!(again, draft.content);
            }
        }
    }

    #[test]
    fn quantities_never_overflow(text in "[0-9]{0,25}(|k|Ki|M|Mi|G|Gi|x)") {
        let _ = app_identity::quantity_problem(&text);
    }
}
