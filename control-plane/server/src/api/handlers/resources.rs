//! The verbs that every kind has.
//!
//! One idea: a verb is the order of its steps, and each step's type is the ticket to the next, so none can be left out.
//! Must never ask which kind it serves, but for the list of projects, nor reach the store.

use std::sync::Arc;

use palladium_kinds::project;

use super::change;
use crate::api::route::{Answer, Answering};
use crate::api::stages::{App, Authenticated};

/// `GET` of a collection.
pub(in crate::api) fn list(app: Arc<App>, call: Authenticated) -> Answering {
    Box::pin(async move {
        // Projects are what scopes are made of: a caller sees those that it has a role on.
        let permitted = if call.action_is(&project::LIST) {
            call.permit_visible(&app)?
        } else {
            call.permit(&app).await?
        };
        Ok(Answer::ok(permitted.list(&app).await?))
    })
}

/// `GET` of one object.
pub(in crate::api) fn get(app: Arc<App>, call: Authenticated) -> Answering {
    Box::pin(async move { Ok(Answer::ok(call.permit(&app).await?.get(&app).await?)) })
}

/// `POST` of one object.
pub(in crate::api) fn create(app: Arc<App>, call: Authenticated) -> Answering {
    change(app, call.validate_create())
}

/// `PUT` of one object.
pub(in crate::api) fn replace(app: Arc<App>, call: Authenticated) -> Answering {
    change(app, call.validate_replace())
}

/// `PATCH` of one object.
pub(in crate::api) fn merge(app: Arc<App>, call: Authenticated) -> Answering {
    change(app, call.validate_merge())
}

/// `DELETE` of one object.
pub(in crate::api) fn delete(app: Arc<App>, call: Authenticated) -> Answering {
    change(app, call.validate_delete())
}
