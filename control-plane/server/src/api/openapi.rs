//! The OpenAPI 3.1 document, made from the routes and the kinds. Committed as `control-plane/server/openapi.json`.
//!
//! Must never describe anything by hand that a definition already says.

use std::collections::BTreeMap;

use palladium_kinds::api_key::{ApiKey, ApiKeyCreated, ApiKeyRequest, JoinTokenCreated, WhoAmI};
use palladium_kinds::app_identity::TokenStatus;
use palladium_kinds::audit_event::AuditEvent;
use palladium_kinds::meta::MetadataInput;
use palladium_kinds::status::CommonStatus;
use palladium_kinds::{ErrorBody, KindDefinition, Metadata, registry};
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::route::{Route, Shape};
use super::routes::routes;

/// The document.
pub fn document() -> Value {
    let mut schemas = BTreeMap::new();
    named::<Metadata>(&mut schemas);
    named::<MetadataInput>(&mut schemas);
    named::<CommonStatus>(&mut schemas);
    named::<ErrorBody>(&mut schemas);
    named::<ApiKey>(&mut schemas);
    named::<ApiKeyRequest>(&mut schemas);
    named::<ApiKeyCreated>(&mut schemas);
    named::<JoinTokenCreated>(&mut schemas);
    named::<WhoAmI>(&mut schemas);
    named::<AuditEvent>(&mut schemas);
    named::<TokenStatus>(&mut schemas);
    for kind in registry::KINDS {
        of_kind(kind, &mut schemas);
    }
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in routes() {
        let operation = operation(&route);
        paths
            .entry(route.path().to_owned())
            .or_default()
            .insert(route.method().as_str().to_ascii_lowercase(), operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Palladium control plane",
            "version": "v1beta1",
            "description": "Projects, App IDs, components, subscriptions, configurations, resiliency policies, HTTP endpoints, regions, API keys and the audit log. Writes are accepted (202) and then made true by the region; status says how far.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "apiKey": [] }, { "bearer": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "apiKey": { "type": "apiKey", "in": "header", "name": "x-diagrid-api-key" },
                "bearer": { "type": "http", "scheme": "bearer" },
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let (takes, gives, status) = route.shapes();
    let answers = |code: u16, text: &str, shape: Shape| {
        let mut answer = json!({ "description": text });
        if let Some(schema) = schema_of(shape) {
            answer["content"] = json!({ "application/json": { "schema": schema } });
        }
        (code.to_string(), answer)
    };
    let mut responses = BTreeMap::from([answers(status, "Done, or accepted", gives)]);
    let mut operation = json!({ "operationId": operation_id(route) });
    match (route.action(), route.public_because()) {
        (Some(action), _) => {
            operation["summary"] = action.summary.into();
            operation["x-palladium-action"] = action.name.into();
            operation["x-palladium-class"] = action.class.as_str().into();
            for (code, text) in [(401, "No valid credential"), (403, "Not allowed"), (404, "Not found")] {
                responses.extend([answers(code, text, Shape::Named("ErrorBody"))]);
            }
        }
        (None, why) => {
            operation["summary"] = format!("Public: {}", why.unwrap_or_default()).into();
            operation["security"] = json!([]);
        }
    }
    if route.is_mutating() {
        for (code, text) in [
            (400, "Invalid"),
            (409, "Conflict"),
            (413, "Too large"),
            (503, "Try again"),
        ] {
            responses.extend([answers(code, text, Shape::Named("ErrorBody"))]);
        }
    }
    operation["responses"] = json!(responses);
    let parameters = parameters(route);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = schema_of(takes) {
        let media = if matches!(takes, Shape::Patch(_)) {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let mut content = Map::new();
        content.insert(media.into(), json!({ "schema": schema }));
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    if let Some(kind) = route.kind() {
        operation["tags"] = json!([kind.kind]);
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let group = if route.path().contains("/dapr.diagrid.io/") {
        "dapr."
    } else {
        ""
    };
    let verb = match (route.method().as_str(), route.action()) {
        ("PATCH", Some(action)) => action.name.replace(".update", ".patch"),
        (_, Some(action)) => action.name.to_owned(),
        (_, None) => route.path().trim_matches('/').replace(['/', '.'], "-"),
    };
    format!("{group}{verb}")
}

fn parameters(route: &Route) -> Vec<Value> {
    let text = json!({ "type": "string" });
    let mut all: Vec<Value> = route
        .path()
        .split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}').map(|(name, _)| name))
        .map(|name| {
            let what = if name == "project" {
                "Name or id of the project"
            } else {
                "Name (regions and keys: or id)"
            };
            json!({ "name": name, "in": "path", "required": true, "description": what, "schema": text })
        })
        .collect();
    let mut query = |name: &str, what: &str, schema: Value| {
        all.push(json!({ "name": name, "in": "query", "required": false, "description": what, "schema": schema }));
    };
    let Some(action) = route.action() else { return all };
    let verb = action.name.rsplit('.').next().unwrap_or_default();
    if verb == "list" {
        query(
            "limit",
            "At most so many items",
            json!({ "type": "integer", "minimum": 1, "maximum": 500 }),
        );
        query("continue", "From metadata.continue of the page before", text.clone());
    }
    if verb == "get" && route.kind().is_some_and(|kind| kind.crud.read_sensitive.is_some()) {
        query(
            "showsensitive",
            "true: with secrets, for callers that may see them; each such read is recorded. Left out: an App ID shows its token to \
             those callers, nothing else. false: without secrets and without a record; for polling",
            json!({ "type": "boolean" }),
        );
    }
    if action.name == "audit.list" {
        for (name, what) in [
            ("action", "Name of the action, such as components.update"),
            ("actor", "Id of the actor"),
            ("outcome", "success, refused or failed"),
            ("kind", "Kind of the object"),
            ("name", "Name of the object"),
            ("project", "Name or id of the project"),
            ("since", "Not before this time"),
            ("until", "Before this time"),
        ] {
            query(name, what, text.clone());
        }
    }
    all
}

fn schema_of(shape: Shape) -> Option<Value> {
    let reference = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let list = |item: &str| {
        json!({
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": { "type": "string" },
                "kind": { "type": "string" },
                "items": { "type": "array", "items": reference(item) },
                "metadata": { "type": "object", "properties": { "continue": { "type": "string" } } },
            },
        })
    };
    match shape {
        Shape::Nothing => None,
        Shape::Object(kind) | Shape::Named(kind) => Some(reference(kind)),
        Shape::Patch(_) | Shape::Any => Some(json!({ "type": "object" })),
        Shape::List(kind) | Shape::Items(kind) => Some(list(kind)),
    }
}

/// An object of a kind: the envelope around its content.
fn of_kind(kind: &KindDefinition, schemas: &mut BTreeMap<String, Value>) {
    let own = (kind.schemas)();
    add(own.referenced, schemas);
    let content = plain(&own.content);
    let mut properties = content
        .get("properties")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    properties.insert(
        "apiVersion".into(),
        json!({ "type": "string", "enum": kind.api_versions }),
    );
    properties.insert("kind".into(), json!({ "type": "string", "const": kind.kind }));
    properties.insert("metadata".into(), json!({ "$ref": "#/components/schemas/Metadata" }));
    let status =
        json!({ "allOf": [{ "$ref": "#/components/schemas/CommonStatus" }, plain(&own.status)], "readOnly": true });
    properties.insert("status".into(), status);
    let schema = json!({
        "type": "object",
        "required": ["metadata", "spec"],
        "properties": properties,
        "description": content.get("description").cloned().unwrap_or_default(),
    });
    schemas.insert(kind.kind.to_owned(), schema);
}

fn named<T: ToSchema + PartialSchema>(schemas: &mut BTreeMap<String, Value>) {
    let mut referenced = Vec::new();
    T::schemas(&mut referenced);
    add(referenced, schemas);
    schemas.insert(T::name().into_owned(), plain(&T::schema()));
}

fn add(referenced: Vec<(String, RefOr<Schema>)>, schemas: &mut BTreeMap<String, Value>) {
    for (name, schema) in referenced {
        schemas.insert(name, plain(&schema));
    }
}

fn plain(schema: &RefOr<Schema>) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}
