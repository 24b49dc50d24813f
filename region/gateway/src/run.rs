//! Starts a gateway: identity, last table, listeners, workers, then the agent; and ends it in order.
//!
//! Must never wait for the agent before serving.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use palladium_identity::Identity;
use palladium_spiffe::SpiffeId;
use palladium_tasks::{ReadyFile, Shutdown, Tasks};
use palladium_tls::{
    ALPN_H2, ALPN_HTTP, Acceptor, Connector, PublicCertSource, SvidSource, TrustBundles, exactly, mtls_client_config,
    public_server_config,
};
use tokio::sync::{oneshot, watch};

use crate::config::Config;
use crate::error::Error;
use crate::freshness::Freshness;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use crate::subscription::Tables;
use crate::table::{Compiler, Table};
use crate::upstream::Dialer;
use crate::worker::{self, Shared};

const CONNECT: Duration = Duration::from_secs(5);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the tasks that are left when all requests are done.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// Runs until `shutdown`. Reads its launch envelope from standard input first.
///
/// # Errors
/// When it cannot start, or has no valid identity any more; [`Error::exit_code`] says what that means to the parent.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let Some(identity) = Identity::start(&config.identity, &shutdown).await? else {
        return Ok(());
    };
    let mut tasks = Tasks::new();
    let (names, files) = (&config.names, config.certificate.as_ref());
    let certificate = identity.public_certificate(&config.identity, names, files, &mut tasks, &shutdown);
    let Some(certificate) = certificate.await? else {
        return Ok(());
    };
    let (svid, bundles) = (identity.svid().clone(), identity.bundles().clone());
    let gateway = Gateway::start(&config, svid, bundles, &certificate, &mut tasks, &shutdown)?;
    let outcome = tokio::select! {
        fresh = identity.keep_fresh(shutdown.clone()) => fresh.map_err(Error::from),
        ended = gateway.wait() => ended,
    };
    shutdown.trigger();
    outcome?;
    if let Err(overdue) = tasks.drain(LAST_TASKS).await {
        tracing::warn!(%overdue, "tasks were cut off at shutdown");
    }
    Ok(())
}

/// A gateway that serves.
pub(crate) struct Gateway {
    #[cfg_attr(not(test), expect(dead_code, reason = "tests do not know the port beforehand"))]
    pub(crate) address: SocketAddr,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests look inside"))]
    pub(crate) shared: Arc<Shared>,
    workers: Vec<oneshot::Receiver<()>>,
    shutdown: Shutdown,
    _ready: ReadyFile,
}

impl Gateway {
    /// Opens all listeners with the last table in force, then begins to follow the agent.
    pub(crate) fn start(
        config: &Config,
        svid: SvidSource,
        bundles: TrustBundles,
        certificate: &PublicCertSource,
        tasks: &mut Tasks,
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        let parse = |key: &str, id: &str| SpiffeId::parse(id).map_err(|error| Error::Config(format!("{key}: {error}")));
        let own_id = parse("identity.spiffe_id", &config.identity.spiffe_id)?;
        let agent_id = parse("agent_id", &config.agent_id)?;
        palladium_os::files::private_folder(&config.data_folder).map_err(|error| Error::File {
            path: config.data_folder.display().to_string(),
            reason: error.to_string(),
        })?;
        let metrics = Metrics::new();
        let shared = Arc::new(Shared {
            table: ArcSwap::from_pointee(Table::default()),
            freshness: Freshness::new(config.limits.table_age_s),
            changed: watch::Sender::new(0),
            limits: config.limits.clone(),
            access_log: config.access_log,
            metrics: metrics.clone(),
        });
        let tables = Tables {
            compiler: Compiler {
                trust_domain: own_id.trust_domain().clone(),
                default_max_body: config.limits.max_body_bytes,
                dialer: Dialer::new(svid.clone(), bundles.clone()),
                metrics: metrics.clone(),
            },
            bundles: bundles.clone(),
            shared: shared.clone(),
            snapshot: Snapshot::new(&config.data_folder),
        };
        if let Some((last, since)) = tables.snapshot.read() {
            tracing::info!(
                version = last.version,
                routes = last.routes.len(),
                "serving from the last route table"
            );
            tables.apply(&last);
            shared.freshness.last_known(since);
        }

        if let Some(address) = config.metrics_listen {
            if !address.ip().is_loopback() {
                return Err(Error::Config(
                    "metrics_listen: must be a loopback address, it is plaintext".to_owned(),
                ));
            }

            tasks.spawn("metrics", metrics.server(address, shutdown.clone())?);
        }
        let count = config.worker_count();
        let listeners = palladium_http::bind_shared("the gateway", config.listen, "--port-gateway", count)?;
        let address = listeners
            .first()
            .and_then(|listener| listener.local_addr().ok())
            .unwrap_or(config.listen);
        let acceptor = Acceptor::public(public_server_config(certificate, ALPN_HTTP), HANDSHAKE);
        let mut workers = Vec::with_capacity(count);
        for (number, listener) in listeners.into_iter().enumerate() {
            let (acceptor, shared) = (acceptor.clone(), shared.clone());
            workers.push(worker::start(
                number,
                count,
                listener,
                acceptor,
                shared,
                shutdown.clone(),
            )?);
        }
        let agent = mtls_client_config(&svid, &bundles, exactly(&agent_id), ALPN_H2);
        let agent = Connector::mtls(agent, bundles, CONNECT);
        tasks.spawn("routes", tables.follow(agent, config.agent_address, shutdown.clone()));
        let ready = ReadyFile::create(&config.data_folder).map_err(|error| Error::File {
            path: config.data_folder.display().to_string(),
            reason: error.to_string(),
        })?;
        tracing::info!(%address, workers = count, "gateway serves");
        Ok(Self {
            address,
            shared,
            workers,
            shutdown: shutdown.clone(),
            _ready: ready,
        })
    }

    /// Returns when all workers have drained after a shutdown, or one ended by itself.
    pub(crate) async fn wait(self) -> Result<(), Error> {
        let numbered = |(number, worker): (usize, oneshot::Receiver<()>)| async move { (number, worker.await) };
        let mut workers: FuturesUnordered<_> = self.workers.into_iter().enumerate().map(numbered).collect();
        while let Some((number, ended)) = workers.next().await {
            if ended.is_err() || !self.shutdown.is_triggered() {
                self.shutdown.trigger();
                return Err(Error::Worker {
                    number,
                    reason: "ended by itself".to_owned(),
                });
            }
        }
        Ok(())
    }
}
