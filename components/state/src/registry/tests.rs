//! Folders and list agree, examples are Components, and nothing secret is declared harmless.

use std::collections::BTreeSet;
use std::path::Path;

use palladium_component::catalog::looks_secret;
use serde_json::Value;

use super::*;

/// Fields that are named like a secret and are none, each reviewed.
const REVIEWED: [(&str, &str); 1] = [("state.redis", "oidcTokenEndpoint")];

#[test]
fn every_folder_with_an_example_is_a_driver_and_the_reverse() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders: BTreeSet<String> = std::fs::read_dir(src)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("example.yaml").exists())
        .map(|entry| entry.file_name().to_string_lossy().replace('_', "-"))
        .collect();
    let listed: BTreeSet<String> = ALL
        .iter()
        .map(|driver| driver.type_name.trim_start_matches("state.").to_string())
        .collect();
    assert_eq!(folders, listed);
    assert!(
        ALL.windows(2).all(|pair| pair[0].type_name < pair[1].type_name),
        "alphabetical"
    );
}

#[test]
fn examples_are_components_of_their_driver() {
    for driver in ALL {
        let example: Value = serde_saphyr::from_str(driver.example).unwrap();
        assert_eq!(example["kind"], "Component", "{driver:?}");
        assert!(driver.matches(
            example["spec"]["type"].as_str().unwrap(),
            example["spec"]["version"].as_str().unwrap()
        ));
        let fields = (driver.fields)();
        let common = StateMetadata::fields();
        for item in example["spec"]["metadata"].as_array().unwrap() {
            let name = item["name"].as_str().unwrap();
            let field = fields.iter().chain(&common).find(|field| field.name == name);
            let field = field.unwrap_or_else(|| panic!("{driver:?}: no field {name}"));
            assert_eq!(
                field.sensitive,
                item.get("secretKeyRef").is_some(),
                "{driver:?} {name}: secrets are references"
            );
        }
    }
}

#[test]
fn secret_looking_fields_are_flagged() {
    for driver in ALL {
        for field in (driver.fields)() {
            let reviewed = REVIEWED.contains(&(driver.type_name, field.name));
            assert!(
                field.sensitive || reviewed || !looks_secret(field.name),
                "{}: {} looks like a secret: flag it or review it here",
                driver.type_name,
                field.name
            );
        }
    }
}

#[test]
fn types_are_found_without_case_and_by_alias() {
    for name in ["state.redis", "State.Redis", "state.sqlite3", "state.in-memory"] {
        assert!(find(name, "").is_some() && find(name, "V1").is_some(), "{name}");
    }
    assert!(find("state.redis", "v2").is_none());
}

#[tokio::test]
async fn unknown_types_and_versions_say_what_there_is() {
    let context = || OpenContext::new("c", "app", Default::default());
    let error = open("state.nothing", "", context()).await.err().unwrap().to_string();
    assert!(
        error.contains("couldn't find state store state.nothing/v1") && error.contains("state.redis"),
        "{error}"
    );
    let error = open("state.redis", "v9", context()).await.err().unwrap().to_string();
    assert!(error.contains("'v9'") && error.contains("use one of: v1"), "{error}");
}

#[test]
fn the_committed_catalog_is_fresh() {
    let committed = palladium_component::catalog::catalog().block("state");
    assert_eq!(committed, catalog(), "run: cargo xtask generate");
}
