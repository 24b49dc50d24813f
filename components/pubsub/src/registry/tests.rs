//! Folders and list agree, examples are Components, and nothing secret is declared harmless.

use std::collections::BTreeSet;
use std::path::Path;

use palladium_component::catalog::looks_secret;
use serde_json::Value;

use super::*;

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
        .map(|driver| driver.type_name.trim_start_matches("pubsub.").to_string())
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
        let (fields, common) = ((driver.fields)(), PubsubMetadata::fields());
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
            assert!(
                field.sensitive || !looks_secret(field.name),
                "{}: {} looks like a secret: flag it",
                driver.type_name,
                field.name
            );
        }
    }
}

#[tokio::test]
async fn unknown_types_say_what_there_is() {
    let context = OpenContext::new("c", "app", Default::default());
    let error = open("pubsub.nothing", "", context).await.err().unwrap().to_string();
    assert!(
        error.contains("couldn't find message bus pubsub.nothing/v1") && error.contains("pubsub.in-memory"),
        "{error}"
    );
}

#[test]
fn the_committed_catalog_is_fresh() {
    let committed = palladium_component::catalog::catalog().block("pubsub");
    assert_eq!(committed, catalog(), "run: cargo xtask generate");
}
