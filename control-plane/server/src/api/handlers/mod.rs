//! Handlers: one line per step. What they may do is decided by the types that they are given.
//!
//! Must never hold more than the order of the steps.

pub(super) mod api_keys;
pub(super) mod app_tokens;
pub(super) mod audit;
pub(super) mod discovery;
pub(super) mod regions;
pub(super) mod resources;

use std::sync::Arc;

use super::failure::Failure;
use super::route::Answering;
use super::stages::{App, Validated};

/// The steps of every change, from a request that makes sense to the answer.
fn change(app: Arc<App>, validated: Result<Validated, Failure>) -> Answering {
    Box::pin(async move {
        validated?
            .authorize(&app)
            .await?
            .extract(&app)
            .await?
            .commit(&app)
            .await
    })
}
