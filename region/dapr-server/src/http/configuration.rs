//! The configuration API over HTTP.
//!
//! One idea: keys and metadata are in the query; changes go to the application. Must never decide anything:
//! `crate::configuration` does, for both protocols.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;
use palladium_component::configuration::Selection;
use palladium_engine_configuration::{ConfigurationError, not_unsubscribed};
use serde_json::json;

use super::{Answer, Head, empty, json as answer_json};
use crate::configuration::{self, ToApp, http_fault, written};
use crate::server::Server;

fn selection(head: &Head) -> Selection {
    let query = head.query.as_deref().unwrap_or_default();
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let keys = pairs
        .filter(|(name, _)| name == "key")
        .map(|(_, value)| Cow::into_owned(value));
    Selection {
        keys: keys.collect(),
        metadata: head.metadata().into_iter().collect(),
    }
}

pub(super) async fn get(server: &Server, head: &Head, store: &str) -> Answer {
    let items = configuration::get(server, store, &selection(head)).await;
    let items = items.map_err(|error| http_fault(&error))?;
    if items.is_empty() {
        return Ok(empty());
    }
    Ok(answer_json(StatusCode::OK, format!("{}\n", written(&items))))
}

pub(super) async fn subscribe(server: &Arc<Server>, head: &Head, store: &str) -> Answer {
    let fault = |error| http_fault(&error);
    let entry = configuration::find(server, store).map_err(fault)?;
    if server.app.load().is_none() {
        return Err(http_fault(&ConfigurationError::NoApp));
    }
    let id = configuration::new_id();
    let app = ToApp {
        server: Arc::downgrade(server),
        store: store.to_owned(),
        id: id.clone(),
    };
    let selection = selection(head);
    let subscribed = configuration::subscribe(server, &entry, &selection, &id, Arc::new(app), false);
    subscribed.await.map_err(fault)?;
    Ok(answer_json(StatusCode::OK, format!("{}\n", json!({ "id": id }))))
}

pub(super) fn unsubscribe(server: &Server, store: &str, id: &str) -> Answer {
    let entry = configuration::find(server, store).map_err(|error| http_fault(&error))?;
    if configuration::unsubscribe(&entry, id) {
        return Ok(answer_json(StatusCode::OK, "{\"ok\":true}\n"));
    }
    let message = not_unsubscribed(id, &format!("subscription with id {id} does not exist"));
    let body = format!("{}\n", json!({ "message": message }));
    Ok(answer_json(StatusCode::INTERNAL_SERVER_ERROR, body))
}
