//! The drivers that stand in pipelines of HTTP requests.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist. A driver must never keep a request.
//! Those that interpret what others wrote are behind features of their names.

mod answer;
mod bearer;
#[cfg(any(feature = "opa", feature = "wasm"))]
mod framing;
#[cfg(all(test, any(feature = "opa", feature = "wasm")))]
mod heard;
mod oauth2;
mod oauth2clientcredentials;
#[cfg(test)]
mod oidc_server;
#[cfg(feature = "opa")]
mod opa;
mod path_filter;
mod ratelimit;
mod routeralias;
mod routerchecker;
mod sentinel;
mod token_endpoint;
mod uppercase;
#[cfg(feature = "wasm")]
mod wasm;

use palladium_component::catalog::Catalog;
use palladium_component::{Middleware, Registry};

/// Drivers that only builds with the features of their names have. No tenant may have them, so they are in no catalog.
pub const BEHIND_FEATURES: [&str; 2] = ["middleware.http.opa", "middleware.http.wasm"];

/// A catalog without them, whatever features its drivers were built with.
#[must_use]
pub fn without_those_behind_features(mut catalog: Catalog) -> Catalog {
    let is_behind = |name: &str| BEHIND_FEATURES.contains(&name);
    catalog.components.retain(|driver| !is_behind(&driver.type_name));
    catalog
}

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn Middleware> = Registry {
    what: "HTTP middleware",
    common: None,
    drivers: &[
        bearer::DRIVER,
        oauth2::DRIVER,
        oauth2clientcredentials::DRIVER,
        #[cfg(feature = "opa")]
        opa::DRIVER,
        ratelimit::DRIVER,
        routeralias::DRIVER,
        routerchecker::DRIVER,
        sentinel::DRIVER,
        uppercase::DRIVER,
        #[cfg(feature = "wasm")]
        wasm::DRIVER,
    ],
};
