//! The metadata API over HTTP.
//!
//! The form is Dapr's JSON, which differs from the protobuf message: a subscription's rules are a plain list, absent
//! parts are left out. Must never gather anything itself: `crate::metadata` does, for both protocols; nor show a
//! component's settings.

use http::{Response, StatusCode};
use palladium_proto::runtime::{GetMetadataResponse, PubsubSubscriptionType, actor_runtime::ActorRuntimeStatus};
use serde_json::{Map, Value, json};

use super::{Answer, Body, Incoming, body, empty};
use crate::errors::Fault;
use crate::metadata;
use crate::server::Server;

pub(super) fn get(server: &Server) -> Response<Body> {
    super::json(StatusCode::OK, to_json(metadata::describe(server)).to_string())
}

pub(super) async fn put(server: &Server, key: impl Into<String>, incoming: Incoming) -> Answer {
    let value = body::read(incoming, server.max_body()).await?;
    let value = String::from_utf8(value.into()).map_err(Fault::unreadable)?;
    metadata::set(server, key.into(), value).map(|()| empty())
}

fn to_json(message: GetMetadataResponse) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        let absent = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if !absent {
            out.insert(name.to_owned(), value);
        }
    };
    put("id", message.id.into());
    put("runtimeVersion", message.runtime_version.into());
    put("enabledFeatures", message.enabled_features.into());
    let components = message.registered_components.into_iter().map(|one| {
        let mut component = json!({ "name": one.name, "type": one.r#type, "version": one.version });
        if !one.capabilities.is_empty() {
            component["capabilities"] = one.capabilities.into();
        }
        component
    });
    put("components", components.collect());
    put(
        "extended",
        message
            .extended_metadata
            .into_iter()
            .map(|(name, value)| (name, Value::from(value)))
            .collect(),
    );
    let subscriptions = message.subscriptions.into_iter().map(|one| {
        let rules = one.rules.unwrap_or_default().rules.into_iter();
        let mut subscription = json!({
            "pubsubname": one.pubsub_name,
            "topic": one.topic,
            "rules": rules.map(|rule| json!({ "match": rule.r#match, "path": rule.path })).collect::<Value>(),
            "deadLetterTopic": one.dead_letter_topic,
            "type": PubsubSubscriptionType::try_from(one.r#type).unwrap_or_default().as_str_name(),
        });
        if !one.metadata.is_empty() {
            subscription["metadata"] = one.metadata.into_iter().map(|(n, v)| (n, Value::from(v))).collect();
        }
        subscription
    });
    put("subscriptions", subscriptions.collect());
    let endpoints = message.http_endpoints.into_iter();
    put(
        "httpEndpoints",
        endpoints.map(|one| json!({ "name": one.name })).collect(),
    );
    let resiliencies = message.resiliencies.into_iter();
    put(
        "resiliencies",
        resiliencies.map(|one| json!({ "name": one.name })).collect(),
    );
    if let Some(app) = message.app_connection_properties {
        let mut connection = Map::new();
        if app.port != 0 {
            connection.insert("port".into(), app.port.into());
        }
        connection.insert("protocol".into(), app.protocol.into());
        connection.insert("channelAddress".into(), app.channel_address.into());
        if app.max_concurrency != 0 {
            connection.insert("maxConcurrency".into(), app.max_concurrency.into());
        }
        if let Some(health) = app.health {
            let health = json!({
                "healthCheckPath": health.health_check_path,
                "healthProbeInterval": health.health_probe_interval,
                "healthProbeTimeout": health.health_probe_timeout,
                "healthThreshold": health.health_threshold,
            });
            connection.insert("health".into(), health);
        }
        put("appConnectionProperties", connection.into());
    }
    if let Some(actors) = message.actor_runtime {
        let status = ActorRuntimeStatus::try_from(actors.runtime_status).unwrap_or_default();
        let actors = json!({
            "runtimeStatus": status.as_str_name(), "hostReady": actors.host_ready, "placement": actors.placement,
        });
        put("actorRuntime", actors);
    }
    out.into()
}
