//! What regions have beside their definition.
//!
//! Must never go around the stages: a join token lets a whole region in.

use std::sync::Arc;

use super::change;
use crate::api::route::Answering;
use crate::api::stages::{App, Authenticated};

/// A join token, as long as the region has not joined.
pub(in crate::api) fn join_token(app: Arc<App>, call: Authenticated) -> Answering {
    change(app, call.validate_join_token())
}
