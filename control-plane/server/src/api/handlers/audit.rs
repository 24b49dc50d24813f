//! The audit log.
//!
//! Must never offer a way to change a record or to remove one.

use std::sync::Arc;

use crate::api::route::{Answer, Answering};
use crate::api::stages::{App, Authenticated};

/// One page, newest first.
pub(in crate::api) fn list(app: Arc<App>, call: Authenticated) -> Answering {
    Box::pin(async move { Ok(Answer::ok(call.permit_visible(&app)?.audit(&app).await?)) })
}
