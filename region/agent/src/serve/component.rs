//! A component as Dapr's resource, for one caller: managed secrets resolved in place.
//!
//! One idea: a component whose secret is missing is not handed out at all: half of it would be a component that connects
//! without a password. Must never be written to disk or logged, nor hand out a secret that the guard rails would not let
//! go where it points.

use palladium_kinds::component::{ComponentContent, SETTINGS};
use palladium_kinds::secret_ref::SecretKeyRef;
use palladium_sealing::ExposeSecret as _;
use serde_json::{Value, json};

use super::resource::{dapr, resolved};
use crate::desired::Admitted;
use crate::region::Region;

/// Renders it; `None` when a secret is missing.
pub(super) fn render(region: &Region, component: &Admitted, content: &ComponentContent) -> Option<Value> {
    let uid = &component.meta.uid;
    let rails = region.rails();
    let mut metadata = Vec::with_capacity(content.spec.metadata.len());
    for item in &content.spec.metadata {
        let field = item.field(SETTINGS);
        if item.secret_key_ref.as_ref().is_some_and(SecretKeyRef::is_managed) {
            let secret = region.secrets.get(uid, &field)?;
            component
                .check_component_hosts(&rails, &item.name, secret.expose_secret(), false)
                .ok()?;
        }
        let mut setting = resolved(region, uid, &field, item.slot())?;
        setting["name"] = item.name.clone().into();
        metadata.push(setting);
    }
    let mut resource = dapr(component, "dapr.io/v1alpha1", "Component");
    resource["spec"] = json!({
        "type": content.spec.kind,
        "version": content.spec.version,
        "ignoreErrors": content.spec.ignore_errors,
        "initTimeout": content.spec.init_timeout,
        "metadata": metadata,
    });
    resource["scopes"] = json!(content.scopes);
    if let Some(auth) = &content.auth {
        resource["auth"] = json!({ "secretStore": auth.secret_store });
    }
    Some(resource)
}
