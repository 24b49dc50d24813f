//! The suite over every cryptography driver of the registry.
//!
//! One idea: a line of [`suites!`] both runs a driver and says so; what is registered and has no line fails a test. Must
//! never pass by the absence of a server.

use std::sync::Arc;

use palladium_component::{CryptoProvider, OpenContext, Properties};
use palladium_conformance::crypto::Backend;
use palladium_conformance::crypto_keys::Keys;

/// `module: type => backend;` runs the suite over what `backend(type)` makes.
macro_rules! suites {
    ($($module:ident: $type_name:literal => $backend:path;)+) => {
        $(mod $module {
            use super::*;

            async fn backend() -> Backend {
                $backend($type_name).await
            }

            palladium_conformance::crypto_suite!(backend);
        })+

        /// Types that are run here.
        const RUN: &[&str] = &[$($type_name),+];
    };
}

suites! {
    jwks: "crypto.dapr.jwks" => key_set;
    localstorage: "crypto.dapr.localstorage" => folder;
}

#[test]
fn every_registered_driver_is_run_through_the_suite() {
    for driver in palladium_components_crypto::DRIVERS.drivers {
        assert!(
            RUN.contains(&driver.type_name) && driver.versions == ["v1"],
            "{} is registered and not run through the suite: add a line to suites!",
            driver.type_name
        );
    }
}

const NAMES: [&str; 3] = ["symmetric", "copy.json", "rsa.pem"];

async fn open(type_name: &str, properties: Properties) -> Arc<dyn CryptoProvider> {
    let context = OpenContext::new("keys", "myapp", properties);
    let opened = palladium_components_crypto::DRIVERS.open(type_name, "", context).await;
    opened.expect("the component opens")
}

async fn key_set(type_name: &'static str) -> Backend {
    let set = Keys::new().set();
    Backend {
        open: Box::new(move || Box::pin(open(type_name, [("jwks", set.as_str())].into_iter().collect()))),
        names: NAMES,
        keep: Box::new(()),
    }
}

async fn folder(type_name: &'static str) -> Backend {
    let folder = Keys::new().folder();
    let path = folder.path().display().to_string();
    Backend {
        open: Box::new(move || Box::pin(open(type_name, [("path", path.as_str())].into_iter().collect()))),
        names: NAMES,
        keep: Box::new(folder),
    }
}
