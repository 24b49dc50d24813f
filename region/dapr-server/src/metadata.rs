//! What a Dapr Server tells about itself; the same for HTTP and gRPC.
//!
//! Must never tell a secret: neither component metadata nor tokens come near this file.

use palladium_component::metadata::go_duration;
use palladium_proto::runtime::{
    ActorRuntime, AppConnectionHealthProperties, AppConnectionProperties, GetMetadataResponse, MetadataHttpEndpoint,
    MetadataResiliency, PubsubSubscription, PubsubSubscriptionRule, PubsubSubscriptionRules, PubsubSubscriptionType,
    RegisteredComponents, actor_runtime::ActorRuntimeStatus,
};
use tonic::Code;

use crate::config::{AppProtocol, DAPR_VERSION};
use crate::errors::Fault;
use crate::pubsub::Origin;
use crate::server::Server;

/// Attaches a name and a value to this process.
///
/// # Errors
/// When callers have attached too many already.
pub fn set(server: &Server, name: String, value: String) -> Result<(), Fault> {
    if server.extended.set(name, value) {
        return Ok(());
    }
    Err(Fault::plain(
        400,
        Code::ResourceExhausted,
        "ERR_BAD_REQUEST",
        "common",
        "too many metadata entries",
    ))
}

/// The state of this process.
pub fn describe(server: &Server) -> GetMetadataResponse {
    let components = server.components.load();
    let registered = components.registered.iter().map(|one| RegisteredComponents {
        name: one.name.clone(),
        r#type: one.kind.clone(),
        version: one.version.clone(),
        capabilities: one.capabilities.iter().map(|&name| name.to_owned()).collect(),
    });
    let subscriptions = server
        .subscriptions
        .all(&components.subscriptions)
        .into_iter()
        .map(|(one, origin)| PubsubSubscription {
            pubsub_name: one.pubsub,
            topic: one.topic,
            metadata: one.metadata.into_iter().collect(),
            rules: Some(PubsubSubscriptionRules {
                rules: one
                    .rules
                    .iter()
                    .map(|(condition, path)| PubsubSubscriptionRule {
                        r#match: condition.clone(),
                        path: path.clone(),
                    })
                    .collect(),
            }),
            dead_letter_topic: one.dead_letter_topic,
            r#type: match origin {
                Origin::Declared => PubsubSubscriptionType::Declarative,
                Origin::Programmatic => PubsubSubscriptionType::Programmatic,
                Origin::Stream => PubsubSubscriptionType::Streaming,
            }
            .into(),
        });
    let endpoints = server.invoke.endpoints.names().into_iter();
    let endpoints = endpoints.map(|name| MetadataHttpEndpoint { name });
    let names = server.resiliency.names().into_iter();
    let mut extended = server.extended.all();
    extended.insert("daprRuntimeVersion".to_owned(), DAPR_VERSION.to_owned());
    GetMetadataResponse {
        id: server.app_id.clone(),
        registered_components: registered.collect(),
        extended_metadata: extended.into_iter().collect(),
        subscriptions: subscriptions.collect(),
        http_endpoints: endpoints.collect(),
        app_connection_properties: Some(app(server)),
        runtime_version: DAPR_VERSION.to_owned(),
        enabled_features: server.rules.load().features.clone(),
        actor_runtime: Some(ActorRuntime {
            runtime_status: ActorRuntimeStatus::Disabled.into(),
            placement: "placement: disconnected".to_owned(),
            ..ActorRuntime::default()
        }),
        resiliencies: names.map(|name| MetadataResiliency { name }).collect(),
        ..GetMetadataResponse::default()
    }
}

fn app(server: &Server) -> AppConnectionProperties {
    let settings = server.app_settings.load();
    let http = !matches!(settings.protocol, AppProtocol::Grpc | AppProtocol::Grpcs);
    let health = settings.health.as_ref().map(|health| AppConnectionHealthProperties {
        health_check_path: if http { health.path.clone() } else { String::new() },
        health_probe_interval: go_duration(health.interval),
        health_probe_timeout: go_duration(health.timeout),
        health_threshold: i32::try_from(health.threshold).unwrap_or(i32::MAX),
    });
    AppConnectionProperties {
        port: settings.port.unwrap_or_default().into(),
        protocol: settings.protocol.name().to_owned(),
        channel_address: settings.address.clone(),
        max_concurrency: settings
            .max_concurrency
            .map_or(0, |limit| i32::try_from(limit).unwrap_or(i32::MAX)),
        health,
    }
}
