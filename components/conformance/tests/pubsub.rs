//! The suite over every publish/subscribe driver of the registry.
//!
//! One idea: a line of [`suites!`] both runs a driver's version and says so; what is registered and has no line fails a
//! test.

use std::sync::Arc;

use palladium_component::{OpenContext, Properties, PubSub};
use palladium_conformance::pubsub::Broker;
use palladium_conformance::redis_server::RedisServer;

/// `module: type version => broker;` runs the suite over what `broker(type, version)` makes.
macro_rules! suites {
    ($($module:ident: $type_name:literal $version:literal => $broker:path;)+) => {
        $(mod $module {
            use super::*;

            async fn broker() -> Broker {
                $broker($type_name, $version).await
            }

            palladium_conformance::pubsub_suite!(broker);
        })+

        /// Type and version of what is run here.
        const RUN: &[(&str, &str)] = &[$(($type_name, $version)),+];
    };
}

suites! {
    in_memory: "pubsub.in-memory" "v1" => in_memory_broker;
    redis: "pubsub.redis" "v1" => redis_server;
}

#[test]
fn every_registered_driver_is_run_through_the_suite() {
    for driver in palladium_components_pubsub::DRIVERS.drivers {
        for version in driver.versions {
            let this = (driver.type_name, *version);
            assert!(
                RUN.contains(&this),
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
