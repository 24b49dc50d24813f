//! The control plane: REST API, and the process that serves it together with the region stream.
//!
//! The one idea: **every change takes the same five steps, and each step is a type that only the step before can make**
//! (`api/stages`): authenticated → validated → authorized → extracted → committed. A handler that skips one does not compile.
//! Routes are data (`api/routes.rs`); the OpenAPI document, the role matrix test and the audit test are generated from them.
//!
//! Only `bin/palladium` depends on this crate (and xtask, for the generated documents). Must never be on the path of an
//! application's request, hold a secret at rest, or dial a region. Start reading at [`run`], then `api/stages/mod.rs`.

pub mod api;
mod bootstrap;
mod config;
mod error;
mod managed;
mod run;

pub use config::{BootstrapConfig, Config, LimitsConfig};
pub use error::Error;
pub use run::run;

#[cfg(test)]
mod tests;
