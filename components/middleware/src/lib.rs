//! The drivers that stand in pipelines of HTTP requests.
//!
//! The one idea: one folder is one driver, one line in [`DRIVERS`] makes it exist. A driver must never keep a request.

mod ratelimit;
mod routeralias;
mod routerchecker;
mod uppercase;

use palladium_component::{Middleware, Registry};

/// Every driver, in alphabetical order.
pub const DRIVERS: Registry<dyn Middleware> = Registry {
    what: "HTTP middleware",
    common: None,
    drivers: &[
        ratelimit::DRIVER,
        routeralias::DRIVER,
        routerchecker::DRIVER,
        uppercase::DRIVER,
    ],
};
