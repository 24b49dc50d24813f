//! The suite over every publish/subscribe driver of the registry.
//!
//! One idea: a line of [`suites!`] both runs a driver's version and says so; what is registered and has no line fails a
//! test. Only the managed broker is run elsewhere, beside the server that it needs.

use std::sync::Arc;

use palladium_component::{OpenContext, Properties, PubSub};
use palladium_conformance::pubsub::Broker;
use palladium_peers::kafka_server::KafkaServer;
use palladium_peers::mosquitto_server::MosquittoServer;
use palladium_peers::rabbitmq_server::RabbitServer;
use palladium_peers::redis_server::RedisServer;
use tokio::sync::OnceCell;

/// `module: type version => broker;` runs the suite over what `broker(type, version)` makes; with `, in turn` all cases are
/// one test over the brokers that it makes, one for each case.
macro_rules! suites {
    ($($module:ident: $type_name:literal $version:literal => $broker:path $(, in $turn:ident)?;)+) => {
        $(mod $module {
            use super::*;

            async fn broker() -> suites!(@made $($turn)?) {
                $broker($type_name, $version).await
            }

            palladium_conformance::pubsub_suite!(broker $(, in $turn)?);
        })+

        /// Type and version of what is run here.
        const RUN: &[(&str, &str)] = &[$(($type_name, $version)),+];
    };
    (@made) => { Broker };
    (@made turn) => { Box<dyn Iterator<Item = Broker>> };
}

suites! {
    in_memory: "pubsub.in-memory" "v1" => in_memory_broker;
    kafka: "pubsub.kafka" "v1" => kafka_in_turn, in turn;
    mqtt3: "pubsub.mqtt3" "v1" => mosquitto;
    rabbitmq: "pubsub.rabbitmq" "v1" => rabbitmq_rooms, in turn;
    redis: "pubsub.redis" "v1" => redis_server;
}

/// Run by `palladium-store`, in `region/store/src/tests/bus.rs`.
const ELSEWHERE: &[(&str, &str)] = &[("pubsub.diagrid", "v1")];

#[test]
fn every_registered_driver_is_run_through_the_suite() {
    for driver in palladium_components_pubsub::DRIVERS.drivers {
        for version in driver.versions {
            let this = (driver.type_name, *version);
            assert!(
                RUN.contains(&this) || ELSEWHERE.contains(&this),
                "{this:?} is registered and not run through the suite: add a line to suites!"
            );
        }
    }
}

async fn open(type_name: &str, version: &str, app_id: &str, properties: Properties) -> Arc<dyn PubSub> {
    let context = OpenContext::new("pubsub", app_id, properties);
    let opened = palladium_components_pubsub::DRIVERS
        .open(type_name, version, context)
        .await;
    opened.expect("the component opens")
}

async fn in_memory_broker(type_name: &'static str, version: &'static str) -> Broker {
    Broker {
        durable: false,
        keeps_early: false,
        shares: false,
        ..Broker::new(move |app_id| Box::pin(open(type_name, version, app_id, Properties::new())))
    }
}

async fn redis_server(type_name: &'static str, version: &'static str) -> Broker {
    let server = RedisServer::start().await;
    let times = [("processingTimeout", "700ms"), ("redeliverInterval", "300ms")];
    let times = times.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let properties = [server.metadata(), times].concat();
    Broker {
        keep: Box::new(server),
        ..Broker::new(move |app_id| {
            Box::pin(open(
                type_name,
                version,
                app_id,
                properties.clone().into_iter().collect(),
            ))
        })
    }
}

/// One server, a virtual host for each case. Exchanges keep nothing for those who come later.
async fn rabbitmq_rooms(type_name: &'static str, version: &'static str) -> Box<dyn Iterator<Item = Broker>> {
    let server = Arc::new(RabbitServer::start().await);
    Box::new((0..).map(move |room| {
        let properties = [
            ("connectionString", server.address(room)),
            ("deletedWhenUnused", "false".to_owned()),
            ("deliveryMode", "2".to_owned()),
            ("requeueInFailure", "true".to_owned()),
        ];
        Broker {
            keeps_early: false,
            carries_metadata: false,
            keep: Box::new(server.clone()),
            ..Broker::new(move |app_id| {
                let properties = properties.iter().map(|(name, value)| (*name, value.as_str())).collect();
                Box::pin(open(type_name, version, app_id, properties))
            })
        }
    }))
}

/// One server, cleared by the first component of each case; groups have a name for each case.
async fn kafka_in_turn(type_name: &'static str, version: &'static str) -> Box<dyn Iterator<Item = Broker>> {
    let server = Arc::new(KafkaServer::start().await);
    Box::new((0..).map(move |turn| {
        let (server, is_clear) = (server.clone(), Arc::new(OnceCell::new()));
        Broker {
            separator: '.',
            keep: Box::new(server.clone()),
            ..Broker::new(move |app_id| {
                let (server, is_clear) = (server.clone(), is_clear.clone());
                Box::pin(async move {
                    is_clear.get_or_init(|| server.clear()).await;
                    let more = [
                        ("consumerID", format!("{app_id}-{turn}")),
                        ("initialOffset", "oldest".to_owned()),
                        ("maxMessageBytes", "8000000".to_owned()),
                        ("backOffDuration", "300ms".to_owned()),
                        ("heartbeatInterval", "200ms".to_owned()),
                        ("sessionTimeout", "6s".to_owned()),
                    ];
                    let more = more.map(|(name, value)| (name.to_owned(), value));
                    let all = server.metadata().into_iter().chain(more);
                    open(type_name, version, app_id, all.collect()).await
                })
            })
        }
    }))
}

/// MQTT has one connection for a name; who shares a topic says so in its name.
async fn mosquitto(type_name: &'static str, version: &'static str) -> Broker {
    let server = MosquittoServer::start().await;
    let url = server.url();
    Broker {
        keeps_early: false,
        carries_metadata: false,
        shares: false,
        keep: Box::new(server),
        ..Broker::new(move |app_id| {
            let properties = [("url", url.as_str())].into_iter().collect();
            Box::pin(open(type_name, version, app_id, properties))
        })
    }
}
