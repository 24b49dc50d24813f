//! API keys.
//!
//! Must never show a key that exists already: only the answer that makes one holds it.

use std::sync::Arc;

use super::change;
use crate::api::route::{Answer, Answering};
use crate::api::stages::{App, Authenticated};

/// Those that the caller administers.
pub(in crate::api) fn list(app: Arc<App>, call: Authenticated) -> Answering {
    Box::pin(async move { Ok(Answer::ok(call.permit_visible(&app)?.api_keys(&app).await?)) })
}

/// A new one, shown this once.
pub(in crate::api) fn create(app: Arc<App>, call: Authenticated) -> Answering {
    change(app, call.validate_create_key())
}

/// The end of one, effective on its next use.
pub(in crate::api) fn delete(app: Arc<App>, call: Authenticated) -> Answering {
    change(app, call.validate_delete_key())
}
