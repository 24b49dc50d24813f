//! What holds for every list of drivers: examples are Components of their driver, nothing secret is declared harmless, the
//! committed catalog is fresh.

use palladium_component::catalog::{Catalog, catalog, looks_secret};
use serde_json::Value;

/// The building blocks whose lists have no test of their own.
fn blocks() -> Vec<(&'static str, Catalog)> {
    vec![
        ("bindings", palladium_components_bindings::catalog()),
        ("configuration", palladium_components_configuration::DRIVERS.catalog()),
        ("conversation", palladium_components_conversation::DRIVERS.catalog()),
        ("crypto", palladium_components_crypto::DRIVERS.catalog()),
        ("lock", palladium_components_lock::catalog()),
        ("middleware", palladium_components_middleware::DRIVERS.catalog()),
        ("secretstores", palladium_components_secretstores::DRIVERS.catalog()),
    ]
}

/// Fields that are named like a secret and are none, each reviewed.
const REVIEWED: [(&str, &str); 2] = [
    ("bindings.http", "securityTokenHeader"),
    ("secretstores.local.file", "secretsFile"),
];

#[test]
fn examples_are_components_of_their_driver() {
    for (block, listed) in blocks() {
        for driver in &listed.components {
            let example: Value = serde_saphyr::from_str(&driver.example).unwrap();
            assert_eq!(example["kind"], "Component", "{}", driver.type_name);
            assert_eq!(example["spec"]["type"], driver.type_name.as_str());
            assert_eq!(example["spec"]["version"], "v1");
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
        assert!(names.is_sorted(), "{names:?}");
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
        assert_eq!(catalog().block(block), listed, "run: cargo xtask generate");
    }
}

#[test]
fn what_is_the_machines_own_is_refused_to_tenants() {
    for type_name in [
        "crypto.dapr.localstorage",
        "secretstores.local.env",
        "secretstores.local.file",
    ] {
        let driver = catalog().find(type_name, "").unwrap();
        assert_eq!(driver.hosted, "refused", "{type_name}");
    }
}
