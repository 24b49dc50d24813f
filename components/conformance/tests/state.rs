//! The suite over the drivers that need nothing but this machine.

use std::sync::Arc;

use palladium_component::{OpenContext, Properties, StateStore};
use palladium_conformance::etcd_server::EtcdServer;
use palladium_conformance::redis_server::RedisServer;
use palladium_conformance::state::Backend;

async fn open(type_name: &'static str, properties: Properties) -> Arc<dyn StateStore> {
    open_version(type_name, "v1", properties).await
}

async fn open_version(type_name: &'static str, version: &'static str, properties: Properties) -> Arc<dyn StateStore> {
    let context = OpenContext::new("mystore", "myapp", properties);
    palladium_components_state::open(type_name, version, context)
        .await
        .expect("the store opens")
}

mod in_memory {
    use super::*;

    async fn backend() -> Backend {
        Backend {
            durable: false,
            ..Backend::new(|| Box::pin(open("state.in-memory", Properties::new())))
        }
    }

    palladium_conformance::state_suite!(backend);
}

mod sqlite {
    use super::*;

    async fn backend() -> Backend {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("data.db").display().to_string();
        let properties = move || [("connectionString", file.as_str())].into_iter().collect();
        Backend {
            keep: Box::new(folder),
            ..Backend::new(move || Box::pin(open("state.sqlite", properties())))
        }
    }

    palladium_conformance::state_suite!(backend);
}

mod sqlite_in_memory {
    use super::*;

    async fn backend() -> Backend {
        let properties = || [("connectionString", ":memory:")].into_iter().collect();
        Backend {
            durable: false,
            ..Backend::new(move || Box::pin(open("state.sqlite", properties())))
        }
    }

    palladium_conformance::state_suite!(backend);
}

mod redis {
    use super::*;

    async fn backend() -> Backend {
        let server = RedisServer::start().await;
        let metadata = server.metadata();
        Backend {
            last_write_ignores_etag: true,
            write_keeps_ttl: true,
            keep: Box::new(server),
            ..Backend::new(move || Box::pin(open("state.redis", metadata.clone().into_iter().collect())))
        }
    }

    palladium_conformance::state_suite!(backend);
}

/// On an etcd of its own; first in the list is a member that is not there.
async fn etcd(version: &'static str) -> Backend {
    let server = EtcdServer::start().await;
    let mut metadata = server.metadata();
    metadata[0].1.insert_str(0, "127.0.0.1:1,");
    Backend {
        // etcd takes requests of 1.5 MiB, as it is started by default.
        largest_value: 3 << 19,
        keep: Box::new(server),
        ..Backend::new(move || {
            Box::pin(open_version(
                "state.etcd",
                version,
                metadata.clone().into_iter().collect(),
            ))
        })
    }
}

mod etcd_v1 {
    use super::*;

    async fn backend() -> Backend {
        etcd("v1").await
    }

    palladium_conformance::state_suite!(backend);
}

mod etcd_v2 {
    use super::*;

    async fn backend() -> Backend {
        etcd("v2").await
    }

    palladium_conformance::state_suite!(backend);
}
