//! What holds for every list of drivers: examples are Components of their driver, nothing secret is declared harmless, the
//! committed catalog is fresh. Those behind features are among them, which the build of the whole workspace brings.

use std::collections::BTreeSet;
use std::path::Path;

use palladium_component::catalog::{Catalog, catalog, looks_secret};
use palladium_component::{Hosted, OpenContext};
use palladium_components_middleware::{BEHIND_FEATURES, without_those_behind_features};
use serde_json::Value;

/// The building blocks.
fn blocks() -> Vec<(&'static str, Catalog)> {
    vec![
        ("bindings", palladium_components_bindings::DRIVERS.catalog()),
        ("configuration", palladium_components_configuration::DRIVERS.catalog()),
        ("conversation", palladium_components_conversation::DRIVERS.catalog()),
        ("crypto", palladium_components_crypto::DRIVERS.catalog()),
        ("lock", palladium_components_lock::DRIVERS.catalog()),
        ("middleware", palladium_components_middleware::DRIVERS.catalog()),
        ("pubsub", palladium_components_pubsub::DRIVERS.catalog()),
        ("secretstores", palladium_components_secretstores::DRIVERS.catalog()),
        ("state", palladium_components_state::DRIVERS.catalog()),
    ]
}

/// Fields that are named like a secret and are none, each reviewed.
const REVIEWED: [(&str, &str); 3] = [
    ("bindings.http", "securityTokenHeader"),
    ("secretstores.local.file", "secretsFile"),
    ("state.redis", "oidcTokenEndpoint"),
];

#[test]
fn every_folder_with_an_example_is_a_driver_and_the_reverse() {
    for (block, listed) in blocks() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(block).join("src");
        let folders: BTreeSet<String> = std::fs::read_dir(src)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().join("example.yaml").exists())
            .map(|entry| entry.file_name().to_string_lossy().replace('_', "."))
            .collect();
        let prefix = match block {
            "crypto" => "crypto.dapr.".to_owned(),
            "middleware" => "middleware.http.".to_owned(),
            _ => format!("{block}."),
        };
        let named = listed.components.iter().map(|driver| {
            let name = driver.type_name.strip_prefix(&prefix);
            name.unwrap_or_else(|| panic!("{} in {block}", driver.type_name))
                .replace('-', ".")
        });
        let named: BTreeSet<String> = named.collect();
        assert_eq!(
            folders, named,
            "{block} (drivers behind features: build with --workspace)"
        );
    }
}

#[test]
fn types_are_found_without_case_and_by_alias() {
    let drivers = palladium_components_state::DRIVERS;
    for name in ["state.redis", "State.Redis", "state.sqlite3", "state.in-memory"] {
        assert!(
            drivers.find(name, "").is_some() && drivers.find(name, "V1").is_some(),
            "{name}"
        );
    }
    assert!(drivers.find("state.redis", "v2").is_none());
}

#[tokio::test]
async fn unknown_types_and_versions_say_what_there_is() {
    let context = || OpenContext::new("c", "app", Default::default());
    let (stores, buses) = (
        palladium_components_state::DRIVERS,
        palladium_components_pubsub::DRIVERS,
    );
    let error = stores
        .open("state.nothing", "", context())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("couldn't find state store state.nothing/v1") && error.contains("state.redis"),
        "{error}"
    );
    let error = stores
        .open("state.redis", "v9", context())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("'v9'") && error.contains("use one of: v1"), "{error}");
    let error = buses
        .open("pubsub.nothing", "", context())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("couldn't find message bus pubsub.nothing/v1") && error.contains("pubsub.in-memory"),
        "{error}"
    );
}

#[test]
fn examples_are_components_of_their_driver() {
    for (block, listed) in blocks() {
        for driver in &listed.components {
            let example: Value = serde_saphyr::from_str(&driver.example).unwrap();
            assert_eq!(example["kind"], "Component", "{}", driver.type_name);
            assert_eq!(example["spec"]["type"], driver.type_name.as_str());
            let version = example["spec"]["version"].as_str().unwrap();
            assert!(
                driver.versions.iter().any(|known| known == version),
                "{}: no version {version}",
                driver.type_name
            );
            for item in example["spec"]["metadata"].as_array().into_iter().flatten() {
                let name = item["name"].as_str().unwrap();
                let field = driver
                    .fields
                    .iter()
                    .chain(listed.common.get(block).into_iter().flatten());
                let field = field.into_iter().find(|field| field.name == name);
                let field = field.unwrap_or_else(|| panic!("{}: no field {name}", driver.type_name));
                let is_reference = item.get("secretKeyRef").is_some();
                assert_eq!(
                    field.sensitive, is_reference,
                    "{} {name}: secrets are references",
                    driver.type_name
                );
            }
        }
    }
}

#[test]
fn lists_are_in_order_and_flag_what_looks_secret() {
    for (_, listed) in blocks() {
        let names: Vec<&str> = listed
            .components
            .iter()
            .map(|driver| driver.type_name.as_str())
            .collect();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
        for driver in &listed.components {
            for field in &driver.fields {
                let reviewed = REVIEWED.contains(&(driver.type_name.as_str(), field.name.as_str()));
                assert!(
                    field.sensitive || reviewed || !looks_secret(&field.name),
                    "{}: {} looks like a secret: flag it or review it here",
                    driver.type_name,
                    field.name
                );
            }
        }
    }
}

#[test]
fn the_committed_catalog_is_fresh() {
    for (block, listed) in blocks() {
        let listed = without_those_behind_features(listed);
        assert_eq!(catalog().block(block), listed, "run: cargo xtask generate");
    }
}

#[test]
fn what_is_behind_features_is_refused_to_tenants_and_in_no_catalog() {
    for type_name in BEHIND_FEATURES {
        let driver = palladium_components_middleware::DRIVERS.find(type_name, "");
        let driver = driver.unwrap_or_else(|| panic!("{type_name}: build with --workspace"));
        assert!(driver.hosted == Hosted::Refused, "{type_name}");
        assert!(catalog().find(type_name, "").is_none(), "{type_name}");
    }
}

#[test]
fn what_is_the_machines_own_is_refused_to_tenants() {
    for type_name in [
        "bindings.localstorage",
        "crypto.dapr.localstorage",
        "secretstores.local.env",
        "secretstores.local.file",
    ] {
        let driver = catalog().find(type_name, "").unwrap();
        assert_eq!(driver.hosted, "refused", "{type_name}");
    }
}
