//! Tells the application of changed configuration.
//!
//! One idea: one POST for each key, with everything that changed as its body. An application that does not take it is
//! tried again as the policy says, and then the change is left to the next one. Must never wait without a deadline.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use palladium_component::configuration::{Item, Items, Listener};
use palladium_component::reply::BoxFuture;
use palladium_engine_resiliency::ComponentKind;
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::app_channel::AppChannel;
use crate::http::Body;
use crate::invoke::PATH;
use crate::resiliency::Said;
use crate::server::Server;

/// How long the application may take for one change.
const PATIENCE: Duration = Duration::from_secs(300);

/// The application, as it listens to one subscription.
pub(crate) struct ToApp {
    pub(crate) server: Weak<Server>,
    pub(crate) store: String,
    pub(crate) id: String,
}

impl Listener for ToApp {
    fn changed(&self, items: Items) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Some(server) = self.server.upgrade() else { return };
            let Some(app) = server.app.load_full() else {
                tracing::error!(
                    "app channel is nil. unable to send configuration update from {}",
                    self.store
                );
                return;
            };
            let body = json!({ "id": self.id, "items": written(&items) }).to_string();
            let policy = server.resiliency.inbound(&self.store, ComponentKind::Configuration);
            for key in items.keys() {
                let told = policy.run(|_| self.tell(&app, key, &body)).await;
                if let Err(error) = told {
                    tracing::error!("error sending configuration item to the app: {error}");
                }
            }
        })
    }
}

impl ToApp {
    async fn tell(&self, app: &Arc<AppChannel>, key: &str, body: &str) -> Result<(), Said> {
        let path = format!("/configuration/{}/{key}", self.store);
        let path = utf8_percent_encode(&path, PATH).to_string();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let call = app.call(Method::POST, &path, headers, Body::from(format!("{body}\n")));
        let said = |words: String, code| Said { words, code };
        let answer = timeout(PATIENCE, call).await;
        let answer = answer.map_err(|_| said("no answer in time".into(), None))?;
        let status = answer.map_err(|error| said(error.to_string(), None))?.status().as_u16();
        match status {
            200 => Ok(()),
            status => Err(said(
                format!("error sending configuration item to application, status {status}"),
                Some(status),
            )),
        }
    }
}

/// Items as JSON: what is empty is left away.
pub(crate) fn written(items: &Items) -> Value {
    let item = |item: &Item| {
        let mut members = serde_json::Map::new();
        for (name, text) in [("value", &item.value), ("version", &item.version)] {
            if !text.is_empty() {
                members.insert(name.to_owned(), text.as_str().into());
            }
        }
        if !item.metadata.is_empty() {
            let metadata: BTreeMap<&String, &String> = item.metadata.iter().collect();
            members.insert("metadata".to_owned(), json!(metadata));
        }
        Value::Object(members)
    };
    Value::Object(items.iter().map(|(key, one)| (key.clone(), item(one))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_left_away() {
        let full = Item {
            value: "v".into(),
            version: "1".into(),
            metadata: [("a".to_owned(), "b".to_owned())].into(),
        };
        let items: Items = [("k".to_owned(), full), ("gone".to_owned(), Item::default())].into();
        let expected = r#"{"gone":{},"k":{"metadata":{"a":"b"},"value":"v","version":"1"}}"#;
        let value: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(written(&items), value);
    }
}
