//! A component as Dapr's resource, for one caller: managed secrets resolved in place.
//!
//! One idea: the JSON exists only between here and the caller's connection. A component whose secret is missing is not
//! handed out at all: half of it would be a component that connects without a password. Must never be written to disk
//! or logged, nor hand out a secret that the guard rails would not let go where it points.

use bytes::Bytes;
use palladium_kinds::secret_ref::SecretKeyRef;
use palladium_sealing::ExposeSecret as _;
use serde_json::{Value, json};

use crate::desired::Admitted;
use crate::region::Region;

/// What can be handed out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) name: String,
    /// Holds secrets: no `Debug`.
    pub(crate) json: Bytes,
}

/// Renders a component; `None` when it is none or a secret is missing.
pub(crate) fn render(region: &Region, component: &Admitted) -> Option<Resource> {
    let content = component.component()?;
    let meta = &component.meta;
    let rails = region.rails();
    let mut metadata = Vec::with_capacity(content.spec.metadata.len());
    for item in &content.spec.metadata {
        let managed = item.secret_key_ref.as_ref().filter(|reference| reference.is_managed());
        metadata.push(match (managed, &item.secret_key_ref) {
            (Some(_), _) => {
                let secret = region.secrets.get(&meta.uid, &item.field())?;
                component
                    .check_component_hosts(&rails, &item.name, secret.expose_secret(), false)
                    .ok()?;
                json!({ "name": item.name, "value": secret.expose_secret() })
            }
            (None, Some(SecretKeyRef { name, key })) => {
                json!({ "name": item.name, "secretKeyRef": { "name": name, "key": key } })
            }
            (None, None) => {
                json!({ "name": item.name, "value": item.value.clone().unwrap_or(Value::String(String::new())) })
            }
        });
    }
    let mut resource = json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {
            "name": meta.name,
            "namespace": meta.project_id,
            "uid": meta.uid,
            "generation": meta.generation,
            "labels": meta.labels,
            "annotations": meta.annotations,
        },
        "spec": {
            "type": content.spec.kind,
            "version": content.spec.version,
            "ignoreErrors": content.spec.ignore_errors,
            "initTimeout": content.spec.init_timeout,
            "metadata": metadata,
        },
        "scopes": content.scopes,
    });
    if let Some(auth) = &content.auth {
        resource["auth"] = json!({ "secretStore": auth.secret_store });
    }
    let json = serde_json::to_vec(&resource).ok()?;
    Some(Resource {
        name: meta.name.clone(),
        json: json.into(),
    })
}

/// All components of an App ID, by name.
pub(crate) fn all(region: &Region, project_id: &str, app_id: &str) -> Vec<Resource> {
    let desired = region.desired();
    let mut all: Vec<Resource> = desired
        .components_of(project_id, app_id)
        .filter_map(|component| render(region, component))
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}
