//! Tokens of App IDs: which there are, rotation, revocation. The tokens themselves are only in the region.
//!
//! Must never answer with a token's secret: reading one is the App ID's own route, with its own action.

use std::sync::Arc;

use super::change;
use crate::api::route::{Answer, Answering};
use crate::api::stages::{App, Authenticated};

/// Which tokens there are, without their secrets.
pub(in crate::api) fn list(app: Arc<App>, call: Authenticated) -> Answering {
    Box::pin(async move { Ok(Answer::ok(call.permit(&app).await?.tokens(&app).await?)) })
}

/// A new token; the old one holds for one more hour.
pub(in crate::api) fn rotate(app: Arc<App>, call: Authenticated) -> Answering {
    change(app, call.validate_tokens(false))
}

/// A new token; every older one is refused at once.
pub(in crate::api) fn revoke(app: Arc<App>, call: Authenticated) -> Answering {
    change(app, call.validate_tokens(true))
}
