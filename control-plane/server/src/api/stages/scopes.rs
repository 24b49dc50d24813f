//! Scopes of components that name nobody.
//!
//! The one idea: files may name App IDs before they exist, so such a scope is no error; but it is told on every read
//! until it is true.
//!
//! Must never refuse anything.

use std::collections::BTreeMap;

use palladium_control_store::Resource;
use palladium_kinds::status::Message;
use palladium_kinds::{app_identity, component};
use serde_json::Value;

use super::App;
use crate::api::failure::Failure;

/// Adds a message to every component with a scope that is no App ID of its project.
pub(super) async fn tell_unknown(app: &App, objects: &mut [Resource]) -> Result<(), Failure> {
    let mut known: BTreeMap<(String, String), bool> = BTreeMap::new();
    for object in objects {
        if object.kind != component::KIND.kind || object.deleted_at.is_some() {
            continue;
        }
        let Some(project) = object.project.clone() else {
            continue;
        };
        let scopes = object.content.get("scopes").and_then(Value::as_array);
        let scopes: Vec<String> = scopes
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        for scope in scopes {
            let question = (project.to_string(), scope);
            let exists = match known.get(&question) {
                Some(exists) => *exists,
                None => {
                    let kind = app_identity::KIND.kind;
                    let found = app
                        .store
                        .resource_find(&app.organization.id, kind, Some(&project), &question.1);
                    let exists = found.await?.is_some();
                    known.insert(question.clone(), exists);
                    exists
                }
            };
            if !exists {
                let scope = &question.1;
                object.status.messages.push(Message {
                    message: format!(
                        "scope {scope} is no App ID of this project; create it, or change the scopes: nobody else is meant by it"
                    ),
                });
            }
        }
    }
    Ok(())
}
