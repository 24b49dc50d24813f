//! The suite over every driver of the registry.
//!
//! One idea: a line of [`suites!`] both runs a driver's version and says so; what is registered and has no line fails a
//! test. Only a managed store is run elsewhere, beside the server that it needs.

use std::sync::Arc;

use palladium_component::{OpenContext, Properties, StateStore};
use palladium_conformance::state::Backend;
use palladium_peers::etcd_server::EtcdServer;
use palladium_peers::memcached_server::MemcachedServer;
use palladium_peers::mysql_server::MySqlServer;
use palladium_peers::postgres_server::PostgresServer;
use palladium_peers::redis_server::RedisServer;

/// `module: type version => backend;` (with `(only a cache)` before the arrow where that is so) runs the suite over what `backend(type, version)` makes.
macro_rules! suites {
    ($($module:ident: $type_name:literal $version:literal $(($($what:ident)+))? => $backend:path;)+) => {
        $(mod $module {
            use super::*;

            async fn backend() -> Backend {
                $backend($type_name, $version).await
            }

            palladium_conformance::state_suite!($($($what)+:)? backend);
        })+

        /// Type and version of what is run here.
        const RUN: &[(&str, &str)] = &[$(($type_name, $version)),+];
    };
}

suites! {
    in_memory: "state.in-memory" "v1" => in_memory_backend;
    sqlite: "state.sqlite" "v1" => sqlite_file;
    sqlite_in_memory: "state.sqlite" "v1" => sqlite_memory;
    redis: "state.redis" "v1" => redis_server;
    etcd_v1: "state.etcd" "v1" => etcd_cluster;
    etcd_v2: "state.etcd" "v2" => etcd_cluster;
    postgresql_v1: "state.postgresql" "v1" => postgres_server;
    postgresql_v2: "state.postgresql" "v2" => postgres_server;
    mysql: "state.mysql" "v1" => mysql_server;
    memcached: "state.memcached" "v1" (only a cache) => memcached_server;
}

/// Run by `palladium-store`, in `region/store/src/tests/conformance.rs`.
const ELSEWHERE: &[(&str, &str)] = &[("state.diagrid", "v1")];

#[test]
fn every_registered_driver_is_run_through_the_suite() {
    for driver in palladium_components_state::DRIVERS.drivers {
        for version in driver.versions {
            let this = (driver.type_name, *version);
            assert!(
                RUN.contains(&this) || ELSEWHERE.contains(&this),
                "{this:?} is registered and not run through the suite: add a line to suites!"
            );
        }
    }
}

async fn open(type_name: &'static str, version: &'static str, properties: Properties) -> Arc<dyn StateStore> {
    let context = OpenContext::new("mystore", "myapp", properties);
    palladium_components_state::DRIVERS
        .open(type_name, version, context)
        .await
        .expect("the store opens")
}

async fn in_memory_backend(type_name: &'static str, version: &'static str) -> Backend {
    Backend {
        durable: false,
        ..Backend::new(move || Box::pin(open(type_name, version, Properties::new())))
    }
}

async fn sqlite_file(type_name: &'static str, version: &'static str) -> Backend {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("data.db").display().to_string();
    let properties = move || [("connectionString", file.as_str())].into_iter().collect();
    Backend {
        keep: Box::new(folder),
        ..Backend::new(move || Box::pin(open(type_name, version, properties())))
    }
}

async fn sqlite_memory(type_name: &'static str, version: &'static str) -> Backend {
    let properties = || [("connectionString", ":memory:")].into_iter().collect();
    Backend {
        durable: false,
        ..Backend::new(move || Box::pin(open(type_name, version, properties())))
    }
}

async fn redis_server(type_name: &'static str, version: &'static str) -> Backend {
    let server = RedisServer::start().await;
    let metadata = server.metadata();
    Backend {
        last_write_ignores_etag: true,
        write_keeps_ttl: true,
        keep: Box::new(server),
        ..Backend::new(move || Box::pin(open(type_name, version, metadata.clone().into_iter().collect())))
    }
}

/// On an etcd of its own; first in the list is a member that is not there.
async fn etcd_cluster(type_name: &'static str, version: &'static str) -> Backend {
    let server = EtcdServer::start().await;
    let mut metadata = server.metadata();
    metadata[0].1.insert_str(0, "127.0.0.1:1,");
    Backend {
        // etcd takes requests of 1.5 MiB, as it is started by default.
        largest_value: 3 << 19,
        keep: Box::new(server),
        ..Backend::new(move || Box::pin(open(type_name, version, metadata.clone().into_iter().collect())))
    }
}

/// PostgreSQL's texts hold no NUL; `jsonb`, which version 1 uses, spells JSON its own way.
async fn postgres_server(type_name: &'static str, version: &'static str) -> Backend {
    let server = PostgresServer::start().await;
    let metadata = server.metadata();
    Backend {
        holds_key: |key| !key.contains('\0'),
        respells_json: version == "v1",
        keep: Box::new(server),
        ..Backend::new(move || Box::pin(open(type_name, version, metadata.clone().into_iter().collect())))
    }
}

/// On MariaDB, which speaks MySQL's protocol.
async fn mysql_server(type_name: &'static str, version: &'static str) -> Backend {
    let server = MySqlServer::start().await;
    let metadata = server.metadata();
    Backend {
        holds_key: |key| key.chars().count() <= 255,
        keep: Box::new(server),
        ..Backend::new(move || Box::pin(open(type_name, version, metadata.clone().into_iter().collect())))
    }
}

async fn memcached_server(type_name: &'static str, version: &'static str) -> Backend {
    let server = MemcachedServer::start().await;
    let metadata = server.metadata();
    Backend {
        durable: false,
        only_cache: true,
        // Items of 1 MiB, as it is started by default, with their keys.
        largest_value: (1 << 20) - 512,
        holds_key: |key| key.len() <= 250 && !key.bytes().any(|byte| byte <= b' ' || byte == 0x7F),
        keep: Box::new(server),
        ..Backend::new(move || Box::pin(open(type_name, version, metadata.clone().into_iter().collect())))
    }
}
