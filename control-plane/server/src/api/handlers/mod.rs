//! Handlers: one line per step. What they may do is decided by the types that they are given.
//!
//! Must never hold more than the order of the steps.

pub(super) mod api_keys;
pub(super) mod app_tokens;
pub(super) mod audit;
pub(super) mod discovery;
pub(super) mod regions;
pub(super) mod resources;
