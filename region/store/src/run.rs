//! Starts a store: identity, last table, listener, then the agent; and ends it in order.
//!
//! Must never wait for the agent before serving.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use palladium_identity::Identity;
use palladium_os::files::Lock;
use palladium_proto::components::state_store_server::StateStoreServer;
use palladium_proto::components::transactional_state_store_server::TransactionalStateStoreServer;
use palladium_proto::components::transactional_store_multi_max_size_server::TransactionalStoreMultiMaxSizeServer;
use palladium_proto::region::ManagedTable;
use palladium_proto::store::bus_server::BusServer;
use palladium_sealing::Kek;
use palladium_spiffe::{SpiffeId, TrustDomain};
use palladium_tasks::{ReadyFile, Shutdown, Tasks};
use palladium_tls::{
    ALPN_H2, Acceptor, Authorizer, Connector, Limits, SvidSource, TrustBundles, exactly, incoming, mtls_client_config,
    mtls_server_config,
};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tower::util::MapRequestLayer;

use crate::access::{Access, LastTable};
use crate::agent::{DestroyedApps, Tables};
use crate::budget::Budgets;
use crate::bus::Bus;
use crate::config::Config;
use crate::error::Error;
use crate::projects::Projects;
use crate::service::{BusService, Service};

const CONNECT: Duration = Duration::from_secs(5);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// One call, writing included.
const REQUEST: Duration = Duration::from_secs(30);
/// How long calls have to finish at the end.
const DRAIN: Duration = Duration::from_secs(5);
const LAST_TASKS: Duration = Duration::from_secs(1);
/// Greatest message; a Dapr Server takes 4 MiB from an application unless told otherwise.
const MAX_MESSAGE: usize = 16 << 20;
/// Callers' data in memory, in all calls together.
const MAX_HELD: usize = 256 << 20;
/// The same in all calls of one project, so that none can starve the others: a quarter, and room for any message.
const MAX_HELD_BY_PROJECT: usize = MAX_HELD / 4;
const _: () = assert!(MAX_HELD_BY_PROJECT >= MAX_MESSAGE);
const CALLS_PER_CONNECTION: u32 = 1024;
/// A peer that answers no ping is gone: so long a consumer keeps what it has not settled.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_ANSWER: Duration = Duration::from_secs(10);

/// Runs until `shutdown`. Reads its launch envelope from standard input first.
///
/// # Errors
/// When it cannot start, or has no valid identity any more; [`Error::exit_code`] says what that means to the parent.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let Some(identity) = Identity::start(&config.identity, &shutdown).await? else {
        return Ok(());
    };
    let store = Store::start(&config, identity.svid().clone(), identity.bundles().clone(), &shutdown).await?;
    let outcome = tokio::select! {
        fresh = identity.keep_fresh(shutdown.clone()) => fresh.map_err(Error::from),
        ended = store.serve(&shutdown) => ended,
    };
    shutdown.trigger();
    store.end().await;
    outcome
}

/// A store that is ready to serve.
pub(crate) struct Store {
    #[cfg_attr(not(test), expect(dead_code, reason = "tests do not know the port beforehand"))]
    pub(crate) address: SocketAddr,
    listener: tokio::sync::Mutex<Option<TcpListener>>,
    acceptor: Acceptor,
    connections: usize,
    service: Service,
    bus_service: BusService,
    bus: Bus,
    projects: Arc<Projects>,
    tasks: tokio::sync::Mutex<Tasks>,
    _ready: ReadyFile,
    _lock: Lock,
}

impl Store {
    /// Opens folder, key and listener with the last table in force, then begins to follow the agent.
    pub(crate) async fn start(
        config: &Config,
        svid: SvidSource,
        bundles: TrustBundles,
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        let parse = |key: &str, id: &str| SpiffeId::parse(id).map_err(|error| Error::Config(format!("{key}: {error}")));
        let own_id = parse("identity.spiffe_id", &config.identity.spiffe_id)?;
        let agent_id = parse("agent_id", &config.agent_id)?;
        let opening = config.clone();
        let opened = tokio::task::spawn_blocking(move || open_folder(&opening)).await;
        let Opened {
            lock,
            projects,
            last,
            table,
            destroyed,
        } = opened.map_err(|error| Error::Config(error.to_string()))??;

        let access = Access::new();
        let projects = Arc::new(projects);
        if let Some(table) = table {
            tracing::info!(
                version = table.version,
                components = table.components.len(),
                "serving from the last table"
            );
            access.replace(&table);
            bundles.set_revocations(palladium_identity::revocations(&table.revoked));
        }
        let listener = palladium_http::bind("the managed store", config.listen, "--internal-ports-from")?;
        let address = listener.local_addr().unwrap_or(config.listen);
        let server = mtls_server_config(&svid, &bundles, dapr_servers_of(own_id.trust_domain()), ALPN_H2);
        let acceptor = Acceptor::mtls(server, bundles.clone(), HANDSHAKE);

        let bus = Bus::new(config.bus.clone(), shutdown.clone());
        let tables = Tables {
            access: access.clone(),
            bundles: bundles.clone(),
            projects: projects.clone(),
            last,
            destroyed,
        };
        let agent = mtls_client_config(&svid, &bundles, exactly(&agent_id), ALPN_H2);
        let agent = Connector::mtls(agent, bundles, CONNECT);
        let mut tasks = Tasks::new();
        tasks.spawn(
            "managed-components",
            tables.follow(agent, config.agent_address, shutdown.clone()),
        );
        let ready = ReadyFile::create(&config.data_folder).map_err(|error| file(config, &error))?;
        tracing::info!(%address, "managed store serves");
        Ok(Store {
            address,
            listener: tokio::sync::Mutex::new(Some(listener)),
            acceptor,
            connections: config.connections,
            service: Service::new(access.clone(), projects.clone()),
            bus_service: BusService::new(access, projects.clone(), bus.clone()),
            bus,
            projects,
            tasks: tokio::sync::Mutex::new(tasks),
            _ready: ready,
            _lock: lock,
        })
    }

    /// Serves until `shutdown` and then lets calls finish for a while.
    pub(crate) async fn serve(&self, shutdown: &Shutdown) -> Result<(), Error> {
        let Some(listener) = self.listener.lock().await.take() else {
            return Ok(());
        };
        let limits = Limits {
            connections: self.connections,
            ..Limits::default()
        };
        let (service, budgets) = (self.service.clone(), Budgets::new(MAX_HELD, MAX_HELD_BY_PROJECT));
        let server = Server::builder()
            .timeout(REQUEST)
            .max_concurrent_streams(CALLS_PER_CONNECTION)
            .http2_max_header_list_size(16 * 1024)
            .http2_adaptive_window(Some(true))
            .http2_keepalive_interval(Some(PING_EVERY))
            .http2_keepalive_timeout(Some(PING_ANSWER))
            .layer(MapRequestLayer::new(move |request| budgets.meter(request)))
            .add_service(StateStoreServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE))
            .add_service(TransactionalStateStoreServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE))
            .add_service(TransactionalStoreMultiMaxSizeServer::new(service))
            .add_service(BusServer::new(self.bus_service.clone()).max_decoding_message_size(MAX_MESSAGE))
            .serve_with_incoming_shutdown(incoming(listener, self.acceptor.clone(), limits), shutdown.wait());
        let overdue = async {
            shutdown.wait().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            result = server => Ok(result?),
            () = overdue => Ok(()),
        }
    }

    /// Ends what is left and closes the files.
    pub(crate) async fn end(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().await);
        if let Err(overdue) = tasks.drain(LAST_TASKS).await {
            tracing::warn!(%overdue, "tasks were cut off at shutdown");
        }
        self.bus.end().await;
        self.projects.close().await;
    }
}

/// Workloads of projects in the own trust domain, and nobody else.
fn dapr_servers_of(domain: &TrustDomain) -> Authorizer {
    let domain = domain.clone();
    Arc::new(move |peer| {
        let project = peer
            .namespace_and_name()
            .is_some_and(|(namespace, _)| namespace.starts_with("prj-"));
        project && peer.trust_domain() == &domain
    })
}

/// What there is in a store's folder.
struct Opened {
    lock: Lock,
    projects: Projects,
    last: LastTable,
    /// The last table itself.
    table: Option<ManagedTable>,
    destroyed: DestroyedApps,
}

/// Blocks on local disk, and for a passphrase on the processor.
fn open_folder(config: &Config) -> Result<Opened, Error> {
    palladium_os::files::private_folder(&config.data_folder).map_err(|error| file(config, &error))?;
    let lock = Lock::try_acquire(&config.data_folder.join("lock")).map_err(|error| file(config, &error))?;
    let lock = lock.ok_or_else(|| file(config, &"another store uses this folder: stop it first"))?;
    let kek = Kek::open(&config.kek).map_err(Error::Key)?;
    let projects = Projects::new(&config.data_folder, Arc::new(kek)).map_err(|error| file(config, &error))?;
    let last = LastTable::new(&config.data_folder);
    Ok(Opened {
        lock,
        projects,
        table: last.read(),
        last,
        destroyed: DestroyedApps::open(&config.data_folder),
    })
}

fn file(config: &Config, reason: &dyn std::fmt::Display) -> Error {
    Error::File {
        path: config.data_folder.display().to_string(),
        reason: reason.to_string(),
    }
}
