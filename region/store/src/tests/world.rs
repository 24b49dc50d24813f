//! A store that runs, and Dapr Servers that call it through the real driver.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use palladium_component::reply::BoxFuture;
use palladium_component::{Duplex, OpenContext, OpenError, PubSub, StateStore};
use palladium_conformance::{drivers, pubsub_drivers};
use palladium_launch::IdentityConfig;
use palladium_proto::region::{DeletedApp, ManagedComponent, ManagedTable};
use palladium_sealing::KekConfig;
use palladium_spiffe::platform;
use palladium_tasks::Shutdown;
use palladium_tls::{ALPN_H2, Connector, SvidSource, exactly, mtls_client_config};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::pki::Ca;
use crate::access::LastTable;
use crate::config::Config;
use crate::error::Error;
use crate::rows::BusLimits;
use crate::run::Store;

/// A region with a store in it.
pub(super) struct World {
    pub(super) ca: Arc<Ca>,
    pub(super) folder: Arc<TempDir>,
    pub(super) agent_address: SocketAddr,
    pub(super) bus: BusLimits,
    running: Option<(SocketAddr, Shutdown, JoinHandle<()>)>,
}

impl World {
    /// A region whose store does not run yet and whose agent is away.
    pub(super) fn new() -> Self {
        World {
            ca: Arc::new(Ca::new("reg-a.palladium.internal")),
            folder: Arc::new(tempfile::tempdir().unwrap()),
            agent_address: "127.0.0.1:1".parse().unwrap(),
            bus: BusLimits::default(),
            running: None,
        }
    }

    /// The same with a last table on disk, and the store running.
    pub(super) async fn with(components: &[ManagedComponent]) -> Self {
        let mut world = World::new();
        world.write_table(components, &[]);
        world.start().await;
        world
    }

    pub(super) fn data_folder(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(super) fn write_table(&self, components: &[ManagedComponent], deleted_apps: &[DeletedApp]) {
        palladium_os::files::private_folder(&self.data_folder()).unwrap();
        let table = ManagedTable {
            version: 1,
            components: components.to_vec(),
            deleted_apps: deleted_apps.to_vec(),
            ..ManagedTable::default()
        };
        LastTable::new(&self.data_folder()).write(&table).unwrap();
    }

    pub(super) fn config(&self) -> Config {
        Config {
            identity: IdentityConfig {
                spiffe_id: self.ca.id(platform::STORE).to_string(),
                sentry_address: "127.0.0.1:1".parse().unwrap(),
                sentry_id: self.ca.id(platform::SENTRY).to_string(),
                roots_file: self.folder.path().join("roots.pem"),
                edge_address: None,
            },
            agent_address: self.agent_address,
            agent_id: self.ca.id(platform::AGENT).to_string(),
            listen: "127.0.0.1:0".parse().unwrap(),
            data_folder: self.data_folder(),
            kek: KekConfig::KeyFile {
                path: self.folder.path().join("kek"),
            },
            connections: 100,
            bus: self.bus.clone(),
            log: Default::default(),
        }
    }

    pub(super) async fn try_start(&mut self) -> Result<(), Error> {
        let shutdown = Shutdown::new();
        let (svid, bundles) = (self.ca.svid(platform::STORE), self.ca.bundles());
        let store = Store::start(&self.config(), svid, bundles, &shutdown).await?;
        let address = store.address;
        let stop = shutdown.clone();
        let task = tokio::spawn(async move {
            store.serve(&stop).await.unwrap();
            store.end().await;
        });
        self.running = Some((address, shutdown, task));
        Ok(())
    }

    pub(super) async fn start(&mut self) {
        self.try_start().await.unwrap();
    }

    pub(super) async fn stop(&mut self) {
        if let Some((_, shutdown, task)) = self.running.take() {
            shutdown.trigger();
            task.await.unwrap();
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.running.as_ref().expect("the store runs").0
    }

    /// What a Dapr Server with this SPIFFE path connects with.
    pub(super) fn dial(&self, path: &str) -> Dial {
        self.dial_with(&self.ca.svid(path))
    }

    /// The same with any certificate.
    pub(super) fn dial_with(&self, svid: &SvidSource) -> Dial {
        let bundles = self.ca.bundles();
        let expected = exactly(&self.ca.id(platform::STORE));
        let config = mtls_client_config(svid, &bundles, expected, ALPN_H2);
        Dial {
            connector: Connector::mtls(config, bundles, Duration::from_secs(5)),
            address: self.address(),
        }
    }

    /// Opens a component as a Dapr Server does.
    pub(super) async fn try_open(&self, path: &str, component: &str) -> Result<Arc<dyn StateStore>, OpenError> {
        open(self.dial(path), component).await
    }

    pub(super) async fn open(&self, path: &str, component: &str) -> Arc<dyn StateStore> {
        self.try_open(path, component).await.unwrap()
    }
}

/// Opens a component over a connection.
pub(super) async fn open(
    dial: impl palladium_component::Connector,
    component: &str,
) -> Result<Arc<dyn StateStore>, OpenError> {
    let context = OpenContext {
        managed: Some(Arc::new(dial)),
        ..OpenContext::new(component, "app", Default::default())
    };
    drivers::DRIVERS.open("state.diagrid", "v1", context).await
}

/// The same for messages; `metadata` is the component's.
pub(super) async fn open_bus(
    dial: impl palladium_component::Connector,
    component: &str,
    metadata: &[(&str, &str)],
) -> Result<Arc<dyn PubSub>, OpenError> {
    let context = OpenContext {
        managed: Some(Arc::new(dial)),
        ..OpenContext::new(component, "app", metadata.iter().copied().collect())
    };
    pubsub_drivers::DRIVERS.open("pubsub.diagrid", "v1", context).await
}

#[derive(Clone)]
pub(super) struct Dial {
    connector: Connector,
    address: SocketAddr,
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dial({})", self.address)
    }
}

impl palladium_component::Connector for Dial {
    fn connect(&self) -> BoxFuture<'static, std::io::Result<Box<dyn Duplex>>> {
        let (connector, address) = (self.connector.clone(), self.address);
        Box::pin(async move { Ok(Box::new(connector.connect(address).await?) as Box<dyn Duplex>) })
    }
}
