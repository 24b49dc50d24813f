//! Attacks on extraction. Long because each builds on the same object, catalog and stored secrets.

mod values;

use std::collections::BTreeMap;

use palladium_component::catalog::{Catalog, CatalogField, ComponentType};
use palladium_control_store::SecretState;
use palladium_kinds::secret_ref::{MASK, SecretKeyRef};
use palladium_kinds::{app_identity, component};
use palladium_sealing::{ExposeSecret as _, HpkeKeyPair, SealedField};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const UID: &str = "0199a000-0000-7000-8000-000000000001";
const PASSWORD: &str = "spec.metadata.redisPassword";
const KEY: [u8; 32] = [7; 32];
static EMPTY: BTreeMap<String, String> = BTreeMap::new();
const NOTHING: Beside<'static> = Beside {
    name: "redis",
    labels: &EMPTY,
    annotations: &EMPTY,
};

fn field(name: &str, sensitive: bool) -> CatalogField {
    CatalogField {
        name: name.into(),
        aliases: vec![],
        kind: "string".into(),
        required: name == "redisHost",
        sensitive,
        default: None,
        allowed: vec![],
        description: String::new(),
    }
}

fn catalog() -> Catalog {
    let driver = |name: &str, hosted: &str| ComponentType {
        type_name: name.into(),
        aliases: vec![],
        versions: vec!["v1".into()],
        status: "stable".into(),
        hosted: hosted.into(),
        fields: vec![
            field("redisHost", false),
            field("redisPassword", true),
            field("enableTLS", false),
            CatalogField {
                kind: "duration".into(),
                ..field("dialTimeout", false)
            },
        ],
        example: String::new(),
    };
    Catalog {
        components: vec![
            driver("state.redis", "allowed"),
            driver("bindings.localstorage", "refused"),
        ],
        common: BTreeMap::new(),
    }
}

fn redis(metadata: Value) -> Map<String, Value> {
    (component::KIND.normalize)(json!({"spec": {"type": "state.redis", "metadata": metadata}})).unwrap()
}

fn place(generation: u64) -> Place<'static> {
    Place {
        region: "reg-a",
        project: "prj-a",
        uid: UID,
        generation,
    }
}

fn submit(content: Map<String, Value>, pair: &HpkeKeyPair) -> Extraction {
    extract(
        &component::KIND,
        &catalog(),
        place(1),
        Some(pair.public()),
        &KEY,
        None,
        NOTHING,
        content,
    )
    .unwrap()
}

fn states(extraction: &Extraction) -> BTreeMap<String, SecretState> {
    let state = |(field, fingerprint): (&String, &Vec<u8>)| {
        (
            field.clone(),
            SecretState {
                version: 1,
                fingerprint: fingerprint.clone(),
            },
        )
    };
    extraction.fingerprints.iter().map(state).collect()
}

fn again(before: &Extraction, content: Map<String, Value>, pair: &HpkeKeyPair) -> Result<Extraction, Problem> {
    let secrets = states(before);
    let stored = Some(Stored {
        content: &before.content,
        secrets: &secrets,
    });
    extract(
        &component::KIND,
        &catalog(),
        place(2),
        Some(pair.public()),
        &KEY,
        stored,
        NOTHING,
        content,
    )
}

#[test]
fn a_secret_is_sealed_to_its_place_and_replaced() {
    let pair = HpkeKeyPair::generate().unwrap();
    let content = redis(json!([{"name": "redisHost", "value": "h:1"}, {"name": "redisPassword", "value": "hunter2"}]));
    let out = submit(content, &pair);
    assert!(!serde_json::to_string(&out.content).unwrap().contains("hunter2"));
    assert_eq!(
        out.content["spec"]["metadata"][1]["secretKeyRef"]["key"],
        format!("{UID}/{PASSWORD}")
    );
    let at = SealedField {
        region: "reg-a",
        project: "prj-a",
        uid: UID,
        field: PASSWORD,
        version: 1,
    };
    assert_eq!(
        pair.open(&at, &out.sealed[0].value).unwrap().expose_secret(),
        b"hunter2"
    );
}

#[test]
fn names_are_compared_without_case_and_credentials_in_addresses_are_found() {
    let pair = HpkeKeyPair::generate().unwrap();
    let content = redis(json!([
        {"name": "redisHost", "value": "redis://user:hunter2@h:1"}, {"name": "REDISPASSWORD", "value": "hunter3"},
        {"name": "mySecretToken", "value": "hunter4"}]));
    let out = submit(content, &pair);
    assert_eq!(out.sealed.len(), 3);
    assert!(!serde_json::to_string(&out.content).unwrap().contains("hunter"));
}

#[test]
fn sec_103_a_mask_keeps_the_secret_and_is_never_stored() {
    let pair = HpkeKeyPair::generate().unwrap();
    let items = |password: Value| {
        let mut item = json!({"name": "redisPassword"});
        item.as_object_mut()
            .unwrap()
            .extend(password.as_object().unwrap().clone());
        redis(json!([{"name": "redisHost", "value": "h:1"}, item]))
    };
    let first = submit(items(json!({"value": "hunter2"})), &pair);
    let reference = SecretKeyRef::managed(UID, PASSWORD);
    for unchanged in [
        json!({"value": MASK}),
        json!({"value": "***"}),
        json!({"secretKeyRef": reference}),
    ] {
        let out = again(&first, items(unchanged), &pair).unwrap();
        assert!(out.sealed.is_empty() && out.forgotten.is_empty());
        assert_eq!(out.content, first.content);
    }
    // The same value again is no change either; another one is sealed anew, with a higher version.
    assert!(
        again(&first, items(json!({"value": "hunter2"})), &pair)
            .unwrap()
            .sealed
            .is_empty()
    );
    assert_eq!(
        again(&first, items(json!({"value": "new"})), &pair).unwrap().sealed[0]
            .value
            .version,
        2
    );
    // Without anything to keep a mask is refused, for secret and for plain fields.
    for metadata in [
        json!([{"name": "redisPassword", "value": MASK}]),
        json!([{"name": "redisHost", "value": "****"}]),
    ] {
        let key = Some(pair.public());
        assert!(
            extract(
                &component::KIND,
                &catalog(),
                place(1),
                key,
                &KEY,
                None,
                NOTHING,
                redis(metadata)
            )
            .is_err()
        );
    }
}

#[test]
fn sec_103_whoever_redirects_must_enter_the_secret_again() {
    let pair = HpkeKeyPair::generate().unwrap();
    let items = |host: &str, password: &str| {
        redis(json!([{"name": "redisHost", "value": host}, {"name": "redisPassword", "value": password}]))
    };
    let first = submit(items("good:1", "hunter2"), &pair);
    let error = again(&first, items("evil:1", MASK), &pair).unwrap_err();
    assert!(
        error.to_string().contains(PASSWORD) && !error.to_string().contains("hunter2"),
        "{error}"
    );
    let tls_off = redis(
        json!([{"name": "redisHost", "value": "good:1"}, {"name": "enableTLS", "value": "false"},
        {"name": "redisPassword", "value": MASK}]),
    );
    assert!(again(&first, tls_off, &pair).is_err());
    let reference = SecretKeyRef::managed(UID, PASSWORD);
    let by_reference = redis(json!([{"name": "redisHost", "value": "evil:1"},
        {"name": "redisPassword", "secretKeyRef": reference}]));
    assert!(again(&first, by_reference, &pair).is_err());
    // An address that is itself sealed, because a password stands in it, is an address all the same.
    assert!(again(&first, items("redis://x:y@evil:1", MASK), &pair).is_err());
    // How patient it is and what its keys look like decides nothing about where it goes.
    let patient = redis(
        json!([{"name": "redisHost", "value": "good:1"}, {"name": "dialTimeout", "value": "9s"},
        {"name": "redisPassword", "value": MASK}]),
    );
    assert!(again(&first, patient, &pair).is_ok());
    // The same text for another place is sealed again, for the region holds the old one to the old place.
    let moved = again(&first, items("other:1", "hunter2"), &pair).unwrap();
    assert_eq!(moved.sealed.len(), 1);
    assert!(
        again(&first, items("good:1", "hunter2"), &pair)
            .unwrap()
            .sealed
            .is_empty()
    );
}

#[test]
fn a_secret_in_clear_elsewhere_in_the_object_is_refused_by_path() {
    let pair = HpkeKeyPair::generate().unwrap();
    let run = |host: &str, beside: Beside<'_>| {
        let content =
            redis(json!([{"name": "redisHost", "value": host}, {"name": "redisPassword", "value": "correct-horse"}]));
        extract(
            &component::KIND,
            &catalog(),
            place(1),
            Some(pair.public()),
            &KEY,
            None,
            beside,
            content,
        )
    };
    let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let (copy, key) = (map("copy", "{\"value\":\"correct-horse\"}"), map("correct-horse", "x"));
    let annotated = |annotations| Beside { annotations, ..NOTHING };
    for (host, beside, path) in [
        ("correct-horse.example:1", NOTHING, "spec.metadata[0].value"),
        ("h", annotated(&copy), "metadata.annotations.copy"),
        (
            "h",
            Beside {
                labels: &key,
                ..NOTHING
            },
            "metadata.labels",
        ),
    ] {
        let error = run(host, beside).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{path}: ")), "{error}");
        assert!(!error.contains("correct-horse"), "{error}");
    }
    assert!(run("h", NOTHING).is_ok());
}

#[test]
fn a_secret_is_found_in_the_name_and_in_base64_wherever_it_begins() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let pair = HpkeKeyPair::generate().unwrap();
    let password = "correct-h\u{f6}rse~?>";
    let run = |name: &str, text: &str, password: &str, stored| {
        let annotations = BTreeMap::from([("note".to_owned(), text.to_owned())]);
        let beside = Beside {
            name,
            annotations: &annotations,
            ..NOTHING
        };
        let content = redis(json!([{"name": "redisHost", "value": "h"}, {"name": "redisPassword", "value": password}]));
        let key = Some(pair.public());
        extract(
            &component::KIND,
            &catalog(),
            place(2),
            key,
            &KEY,
            stored,
            beside,
            content,
        )
        .map_err(|e| e.to_string())
    };
    let error = run("correct-horse-1", "", "correct-horse", None).unwrap_err();
    assert!(
        error.starts_with("metadata.name: ") && !error.contains("horse"),
        "{error}"
    );
    for before in ["", "u", "us", "user:"] {
        let text = format!("{before}{password} and more");
        for text in [STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            let error = run("redis", &format!("Basic {text}"), password, None).unwrap_err();
            assert!(error.starts_with("metadata.annotations.note: "), "{before}: {error}");
        }
    }
    // Of a kept one only its fingerprint is known: then a text that is it, whole.
    let first = submit(
        redis(json!([{"name": "redisHost", "value": "h"}, {"name": "redisPassword", "value": password}])),
        &pair,
    );
    let secrets = states(&first);
    let stored = Some(Stored {
        content: &first.content,
        secrets: &secrets,
    });
    for text in [STANDARD.encode(password), URL_SAFE_NO_PAD.encode(password)] {
        assert!(run("redis", &text, MASK, stored).is_err(), "{text}");
    }
    for honest in ["", "Y29ycmVjdA==", "correct", "aGVsbG8gd29ybGQ="] {
        assert!(run("redis", honest, password, None).is_ok(), "{honest}");
        assert!(run("redis", honest, MASK, stored).is_ok(), "{honest}");
    }
}

#[test]
fn a_kept_or_short_or_pasted_secret_is_refused_beside_the_object_and_never_quoted() {
    let pair = HpkeKeyPair::generate().unwrap();
    let items = |password: &str| {
        redis(json!([{"name": "redisHost", "value": "h"}, {"name": "redisPassword", "value": password}]))
    };
    let first = submit(items("correct-\"horse"), &pair);
    let secrets = states(&first);
    let stored = Stored {
        content: &first.content,
        secrets: &secrets,
    };
    let run = |password: &str, stored, text: &str| {
        let annotations = BTreeMap::from([("note".to_owned(), text.to_owned())]);
        let beside = Beside {
            annotations: &annotations,
            ..NOTHING
        };
        extract(
            &component::KIND,
            &catalog(),
            place(2),
            Some(pair.public()),
            &KEY,
            stored,
            beside,
            items(password),
        )
        .map_err(|error| error.to_string())
    };
    let applied = json!({"spec": {"type": "state.redis", "version": "v1",
        "metadata": [{"name": "redisPassword", "value": "pw1"}]}});
    let escaped = json!({"a": "correct-\"horse"}).to_string();
    for (password, stored, text) in [
        (MASK, Some(stored), "correct-\"horse"),
        (MASK, Some(stored), &applied.to_string()),
        ("pw1", None, &applied.to_string()),
        ("correct-\"horse", None, &escaped),
        ("pw1", None, "see redis://me:pw1@host:6379/0"),
        ("pw1", None, "Server=db;User=me;Password=pw1"),
        ("pw1", None, "-----BEGIN PRIVATE KEY-----\npw1"),
    ] {
        let error = run(password, stored, text).unwrap_err();
        assert!(error.starts_with("metadata.annotations.note: "), "{text}: {error}");
        assert!(!error.contains("pw1") && !error.contains("horse"), "{error}");
    }
    let masked = applied.to_string().replace("pw1", MASK);
    for text in [
        "correct horse",
        &masked,
        "{\"spec\":{}}",
        "https://shop.example.com/?user=a@b:c",
    ] {
        assert!(run(MASK, Some(stored), text).is_ok(), "{text}");
    }
}

#[test]
fn sec_111_references_to_other_objects_secrets_are_refused() {
    let pair = HpkeKeyPair::generate().unwrap();
    for key in [
        "0199a000-0000-7000-8000-00000000dead/spec.metadata.redisPassword",
        "x",
        &format!("{UID}/spec.metadata.other"),
    ] {
        let metadata = json!([{"name": "redisPassword", "secretKeyRef": {"name": "palladium", "key": key}}]);
        let error = extract(
            &component::KIND,
            &catalog(),
            place(1),
            Some(pair.public()),
            &KEY,
            None,
            NOTHING,
            redis(metadata),
        );
        assert!(matches!(error, Err(Problem::Invalid(_))), "{key}");
    }
}

#[test]
fn an_app_ids_token_is_extracted_masked_and_forgotten() {
    let pair = HpkeKeyPair::generate().unwrap();
    let kind = &app_identity::KIND;
    let content = |token: Value| {
        (kind.normalize)(json!({"spec": {"appEndpoint": {"url": "http://a:1", "token": token}}})).unwrap()
    };
    let first = extract(
        kind,
        &catalog(),
        place(1),
        Some(pair.public()),
        &KEY,
        None,
        NOTHING,
        content("hunter2".into()),
    )
    .unwrap();
    let mut shown = first.content.clone();
    mask(kind, &mut shown);
    assert_eq!(shown["spec"]["appEndpoint"]["token"], MASK);
    let secrets = states(&first);
    let stored = Some(Stored {
        content: &first.content,
        secrets: &secrets,
    });
    let masked = (kind.normalize)(Value::Object(shown)).unwrap();
    let kept = extract(
        kind,
        &catalog(),
        place(2),
        Some(pair.public()),
        &KEY,
        stored,
        NOTHING,
        masked,
    )
    .unwrap();
    assert_eq!(kept.content, first.content);
    let gone = extract(
        kind,
        &catalog(),
        place(2),
        Some(pair.public()),
        &KEY,
        stored,
        NOTHING,
        content("".into()),
    )
    .unwrap();
    assert_eq!(gone.forgotten, [app_identity::ENDPOINT_TOKEN]);
}

#[test]
fn without_a_region_key_a_secret_is_refused_and_plain_content_accepted() {
    let secret = redis(json!([{"name": "redisPassword", "value": "x"}]));
    let plain = redis(json!([{"name": "redisHost", "value": "x"}]));
    let run = |content| {
        extract(
            &component::KIND,
            &catalog(),
            place(1),
            None,
            &KEY,
            None,
            NOTHING,
            content,
        )
    };
    assert!(matches!(run(secret), Err(Problem::NoKey { .. })));
    assert!(run(plain).is_ok());
}

#[test]
fn the_catalog_refuses_unknown_and_unhosted_types() {
    let content = |kind: &str| {
        serde_json::from_value(json!({"spec": {"type": kind, "version": "v1",
        "metadata": [{"name": "redisHost", "value": "h"}]}}))
        .unwrap()
    };
    assert!(check_component(&catalog(), &content("state.redis")).is_ok());
    let refused = check_component(&catalog(), &content("bindings.localstorage"))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("not hosted"), "{refused}");
    let unknown = check_component(&catalog(), &content("state.nothing"))
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("spec.type"), "{unknown}");
}

proptest! {
    #[test]
    fn sec_101_no_value_of_a_sensitive_field_survives(secret in "[a-zA-Z0-9]{12,40}", name in "(redisPassword|REDISpassword|apiToken|my-secret)") {
        let pair = HpkeKeyPair::generate().unwrap();
        let out = submit(redis(json!([{"name": "redisHost", "value": "h"}, {"name": name, "value": secret}])), &pair);
        prop_assert!(!serde_json::to_string(&out.content).unwrap().contains(&secret));
        let debug = format!("{out:?}");
        prop_assert!(!debug.contains(&secret));
        prop_assert_eq!(out.sealed.len(), 1);
    }
}
