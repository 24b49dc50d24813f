//! An object as Dapr's resource, for one caller.
//!
//! One idea: the JSON exists only between here and the caller's connection, because secrets stand in it. An object whose
//! secret is missing is not handed out at all: half of it would be a call without its credentials. Must never be written
//! to disk or logged.

use bytes::Bytes;
use palladium_kinds::http_endpoint::{CERTIFICATE, HEADERS, HttpEndpointContent, PRIVATE_KEY, ROOT_CA};
use palladium_kinds::secret_ref::SecretKeyRef;
use palladium_sealing::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::{component, configuration};
use crate::desired::{Admitted, Content};
use crate::region::Region;

/// What can be handed out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) name: String,
    /// Holds secrets: no `Debug`.
    pub(crate) json: Bytes,
}

/// All objects of a kind that an App ID is given, by name.
pub(crate) fn all(region: &Region, kind: &str, project_id: &str, app_id: &str) -> Vec<Resource> {
    let desired = region.desired();
    let given = desired.given(kind, project_id, app_id);
    let mut all: Vec<Resource> = given.filter_map(|object| render(region, object)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Renders an object; `None` when Dapr has no such resource, or a secret is missing.
fn render(region: &Region, object: &Admitted) -> Option<Resource> {
    let resource = match &object.content {
        Content::Project(_) | Content::App(_) => return None,
        Content::Component(content) => component::render(region, object, content)?,
        Content::Configuration(content) => configuration::render(region, object, content)?,
        Content::HttpEndpoint(content) => http_endpoint(region, object, content)?,
        Content::Subscription(content) => {
            let mut resource = dapr(object, "dapr.io/v2alpha1", "Subscription");
            resource["spec"] = serde_json::to_value(&content.spec).ok()?;
            resource["scopes"] = json!(content.scopes);
            resource
        }
        Content::Resiliency(content) => {
            let mut resource = dapr(object, "dapr.io/v1alpha1", "Resiliency");
            resource["spec"] = serde_json::to_value(&content.spec).ok()?;
            resource["scopes"] = json!(content.scopes);
            resource
        }
    };
    Some(Resource {
        name: object.meta.name.clone(),
        json: serde_json::to_vec(&resource).ok()?.into(),
    })
}

/// What all of Dapr's resources begin with.
pub(super) fn dapr(object: &Admitted, api_version: &str, kind: &str) -> Value {
    let meta = &object.meta;
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": meta.name,
            "namespace": meta.project_id,
            "uid": meta.uid,
            "generation": meta.generation,
            "labels": meta.labels,
            "annotations": meta.annotations,
        },
    })
}

/// A value as it is handed out: a managed secret in place of its reference; a reference into a store of the project's own
/// stays one. `None` when the secret is not here.
pub(super) fn resolved(
    region: &Region,
    uid: &str,
    field: &str,
    (value, reference): (Option<&Value>, Option<&SecretKeyRef>),
) -> Option<Value> {
    Some(match reference {
        Some(reference) if reference.is_managed() => {
            json!({ "value": region.secrets.get(uid, field)?.expose_secret() })
        }
        Some(SecretKeyRef { name, key }) => json!({ "secretKeyRef": { "name": name, "key": key } }),
        None => json!({ "value": value.cloned().unwrap_or_else(|| "".into()) }),
    })
}

fn http_endpoint(region: &Region, object: &Admitted, content: &HttpEndpointContent) -> Option<Value> {
    let uid = &object.meta.uid;
    let mut headers = Vec::with_capacity(content.spec.headers.len());
    for header in &content.spec.headers {
        let mut shown = resolved(region, uid, &header.field(HEADERS), header.slot())?;
        shown["name"] = header.name.clone().into();
        headers.push(shown);
    }
    let mut resource = dapr(object, "dapr.io/v1alpha1", "HTTPEndpoint");
    resource["spec"] = json!({ "baseUrl": content.spec.base_url, "headers": headers });
    if let Some(tls) = &content.spec.client_tls {
        let mut shown = Map::new();
        for (path, document) in content.documents() {
            let name = match path {
                ROOT_CA => "rootCA",
                CERTIFICATE => "certificate",
                PRIVATE_KEY => "privateKey",
                _ => continue,
            };
            shown.insert(name.to_owned(), resolved(region, uid, path, document.slot())?);
        }
        if let Some(renegotiation) = tls.renegotiation {
            shown.insert("renegotiation".to_owned(), serde_json::to_value(renegotiation).ok()?);
        }
        resource["spec"]["clientTLS"] = shown.into();
    }
    resource["scopes"] = json!(content.scopes);
    if let Some(auth) = &content.auth {
        resource["auth"] = json!({ "secretStore": auth.secret_store });
    }
    Some(resource)
}
