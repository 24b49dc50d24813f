//! The REST API.
//!
//! Must never reach the store but through `stages`.

pub mod dispatch;
pub mod failure;
mod handlers;
pub mod openapi;
pub mod route;
pub mod routes;
pub mod stages;
mod unique_keys;
