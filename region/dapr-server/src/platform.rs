//! Platform mode: one tenant's Dapr Server on a shared machine.
//!
//! One idea: before anything else it gives up rights (no core dump, no file outside its folder), then proves who it is,
//! then learns from the agent what it is to do. Calls come by two listeners, both mutual TLS: one for the gateway, one for
//! Dapr Servers of the same project. The first also admits the agent, which gets metrics there and nothing else. Exit codes
//! are those of `palladium_launch::exit`. Must never start a thread or read the launch envelope before `confine` (Landlock
//! binds threads), serve on a port without mutual TLS, nor decide by a request who its caller is.

use std::convert::Infallible;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use hyper::Request;
use hyper::service::service_fn;
use palladium_http::{
    Accept, BindError, Budget, Connection, Limits, Server as HttpServer, TlsListener, Upload, bind, bind_shared,
};
use palladium_identity::{Identity, IdentityError};
use palladium_launch::{DaprServerConfig, Envelope, EnvelopeError, exit};
use palladium_os::{Confinement, Outcome, SYSTEM_READ};
use palladium_spiffe::SpiffeId;
use palladium_tasks::{ReadyFile, Shutdown, Tasks};
use palladium_tls::{ALPN_H2, ALPN_HTTP, Acceptor, Authorizer, mtls_server_config};
use tokio::net::TcpListener;

use crate::agent::{self, Agent};
use crate::auth::Auth;
use crate::bindings;
use crate::closing;
use crate::config::{AppProtocol, AppSettings, Bounds, PlatformConfig};
use crate::grpc::{self, Services};
use crate::http::{self, Surface};
use crate::invoke::peers::Peers;
use crate::invoke::{Invoke, serve_internal};
use crate::metrics::{Metrics, page};
use crate::pubsub::keeper;
use crate::ready::Target;
use crate::resources::MetricsSettings;
use crate::server::Server;
use crate::workers::{self, Work};

/// Unless the agent says otherwise.
pub(crate) const MAX_BODY: usize = 4 << 20;
const DRAIN: Duration = Duration::from_secs(5);
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why a Dapr Server ended otherwise than by order.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file cannot be used.
    #[error(transparent)]
    Config(#[from] palladium_config::Error),
    /// An ID in the configuration is none.
    #[error("configuration: {0}")]
    Id(String),
    /// Logging could not start.
    #[error(transparent)]
    Log(#[from] palladium_telemetry::Error),
    /// The launch envelope did not come.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// No identity, or no longer one.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A port is taken or refused.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The process could not confine itself.
    #[error(transparent)]
    Confine(#[from] palladium_os::Error),
    /// The operating system refused something else.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

impl Error {
    /// The exit code that the parent understands.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Id(_) | Self::Log(_) => exit::USAGE,
            Self::Identity(error) => exit::without_identity(error),
            Self::Bind(_) => exit::UNAVAILABLE,
            Self::Envelope(_) | Self::Confine(_) | Self::System(_) => exit::SOFTWARE,
        }
    }
}

/// `palladium-dapr-server run --config <file>`. Call it before any thread exists: confinement binds threads.
pub fn main_platform(config_file: &Path) -> ExitCode {
    let outcome = start(config_file);
    ExitCode::from(match outcome {
        Ok(()) => exit::STOPPED,
        Err(error) => {
            tracing::error!(%error, "the Dapr Server ends");
            error.exit_code()
        }
    })
}

fn start(config_file: &Path) -> Result<(), Error> {
    let config: PlatformConfig = palladium_config::load(config_file)?;
    palladium_telemetry::init(&config.given.log)?;
    confine(&config.given)?;
    palladium_tls::install_crypto_provider();
    let threads = workers::run(async {
        let shutdown = Shutdown::on_signals()?;
        let envelope = Envelope::from_parent().await?;
        serve(config, envelope, shutdown).await
    })?;
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a worker ended by panic");
        }
    }
    Ok(())
}

/// No core dump, no debugger, no file outside its own folder and what TLS and name resolution need.
fn confine(config: &DaprServerConfig) -> Result<(), Error> {
    palladium_os::harden()?;
    let mut read: Vec<_> = SYSTEM_READ.iter().map(Into::into).collect();
    // The folder, not the file: the roots are replaced by renaming.
    read.extend(config.identity.roots_file.parent().map(Into::into));
    let outcome = palladium_os::confine(&Confinement {
        read,
        write: vec![config.data_folder.clone()],
    })?;
    match outcome {
        Outcome::Enforced => tracing::info!("confined to its own folder"),
        Outcome::Partial => tracing::warn!("only partly confined: the kernel is too old for some rights"),
        Outcome::NotSupported => tracing::warn!("not confined: the kernel has no Landlock"),
    }
    Ok(())
}

/// Serves until `shutdown`. The caller has confined the process and installed the crypto provider.
///
/// # Errors
/// See [`Error`]; [`Error::exit_code`] is what the process should end with.
pub async fn run(config: PlatformConfig, envelope: Envelope, shutdown: Shutdown) -> Result<(), Error> {
    let threads = serve(config, envelope, shutdown).await?;
    let join = move || threads.into_iter().all(|thread| thread.join().is_ok());
    if !tokio::task::spawn_blocking(join).await.unwrap_or(false) {
        tracing::error!("a worker ended by panic");
    }
    Ok(())
}

async fn serve(
    PlatformConfig { given: config, bounds }: PlatformConfig,
    envelope: Envelope,
    shutdown: Shutdown,
) -> Result<Vec<std::thread::JoinHandle<()>>, Error> {
    let Some(identity) = Identity::attested(&config.identity, envelope, &shutdown).await? else {
        return Ok(Vec::new());
    };
    let own = parse(&config.identity.spiffe_id)?;
    let (svid, bundles) = (identity.svid().clone(), identity.bundles().clone());

    let mut tasks = Tasks::new();
    let (lost_tx, mut lost_rx) = tokio::sync::oneshot::channel();
    let stop = shutdown.child();
    tasks.spawn("identity", async move {
        if let Err(error) = identity.keep_fresh(stop).await {
            let _ = lost_tx.send(error);
        }
    });

    let server = Arc::new(new_server(&config, &bounds, shutdown.clone()));
    let agent = Agent::new(&config, &svid, &bundles)?;
    let followed = tokio::select! {
        followed = shutdown.unless(agent::follow(server.clone(), agent, &mut tasks)) => followed,
        // The agent may be away for longer than the identity lasts.
        Ok(error) = &mut lost_rx => {
            shutdown.trigger();
            return Err(error.into());
        }
    };
    if followed.is_none() {
        return Ok(Vec::new());
    }
    server.ready.set(Target::Outbound);
    // Nobody waits for the first look: an application may be away for long.
    let (looked, _) = tokio::sync::oneshot::channel();
    tasks.spawn(
        "bindings-keeper",
        bindings::keeper::keep(server.clone(), shutdown.child()),
    );
    tasks.spawn("pubsub-keeper", keeper::keep(server.clone(), looked, shutdown.child()));

    let (gateway_id, agent_id) = (parse(&config.gateway_id)?, parse(&config.agent_id)?);
    let acceptor = |config| Acceptor::mtls(config, bundles.clone(), HANDSHAKE);
    let admitted = either(gateway_id, agent_id.clone());
    let tls = acceptor(mtls_server_config(&svid, &bundles, admitted, ALPN_HTTP));
    let workers = workers::count();
    let listeners = bind_shared("the gateway listener", config.gateway_listen, "gateway_listen", workers)?;
    let works = listeners
        .into_iter()
        .map(|listener| {
            let agent = agent_id.clone();
            gateway_work(server.clone(), agent, listener, tls.clone(), limits(&bounds))
        })
        .collect();

    // Same project: same trust domain, same namespace.
    let project = project_prefix(&own);
    let neighbours: Authorizer =
        Arc::new(move |peer: &SpiffeId| peer.as_str().starts_with(project.as_str()) && peer.is_workload());
    let tls = acceptor(mtls_server_config(&svid, &bundles, neighbours, ALPN_H2));
    let internal = bind("the internal listener", config.internal_listen, "internal_listen")?;
    let internal = HttpServer::new(TlsListener::new(internal, tls), limits(&bounds));
    tasks.spawn("internal", serve_internal(server.clone(), internal));

    let (first, threads) = workers::spread(works)?;
    if let Some(first) = first {
        tasks.spawn("worker-0", first);
    }
    for target in [Target::Api, Target::Internal, Target::Runtime] {
        server.ready.set(target);
    }
    workers::give_back_after_start(&mut tasks, shutdown.child());
    let ready = ReadyFile::create(&config.data_folder)?;
    tracing::info!(id = %own, gateway = %config.gateway_listen, "serving");

    let lost = tokio::select! {
        // First: at a stop the other one may have been heard already.
        biased;
        () = shutdown.wait() => None,
        lost = &mut lost_rx => lost.ok(),
    };
    drop(ready);
    shutdown.trigger();
    if let Err(overdue) = tasks.drain(DRAIN + Duration::from_secs(1)).await {
        tracing::warn!(%overdue, "not everything ended in time");
    }
    closing::close_all(&server.components.load_full()).await;
    server.tracing.close().await;
    match lost {
        Some(error) => Err(error.into()),
        None => Ok(threads),
    }
}

fn limits(bounds: &Bounds) -> Limits {
    Limits {
        connections: bounds.connections,
        addresses: bounds.addresses,
        drain: DRAIN,
        ..Limits::default()
    }
}

/// Admits these two and nobody else.
fn either(gateway: SpiffeId, agent: SpiffeId) -> Authorizer {
    Arc::new(move |peer: &SpiffeId| *peer == gateway || *peer == agent)
}

/// One worker's share of the gateway listener.
fn gateway_work(
    server: Arc<Server>,
    agent: SpiffeId,
    listener: std::net::TcpListener,
    tls: Acceptor,
    limits: Limits,
) -> Work {
    Box::pin(async move {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                let listener = HttpServer::new(TlsListener::new(listener, tls), limits);
                serve_api(server, Some(agent), listener).await;
            }
            Err(error) => tracing::error!(%error, "the gateway listener cannot be used"),
        }
    })
}

/// The API on one port: HTTP and gRPC, told apart by content type. Connections of `agent` get metrics in its place. Until the
/// server's own shutdown.
pub(crate) async fn serve_api<L: Accept>(server: Arc<Server>, agent: Option<SpiffeId>, listener: HttpServer<L>) {
    let (shutdown, services) = (server.shutdown.clone(), Services::new(&server));
    let make = move |connection: Arc<Connection>| {
        let (server, services) = (server.clone(), services.clone());
        // Once for all of its requests, by what the handshake has proven.
        let is_agent = agent.is_some() && connection.peer == agent;
        service_fn(move |request: Request<Upload>| {
            let (server, services) = (server.clone(), services.clone());
            async move {
                Ok::<_, Infallible>(if is_agent {
                    page::answer(&server)
                } else if grpc::is_grpc(request.headers()) {
                    grpc::handle(&server, &services, request).await
                } else {
                    http::handle(&server, Surface::Api, request).await
                })
            }
        })
    };
    listener.serve(make, &shutdown).await;
}

pub(crate) fn new_server(config: &DaprServerConfig, bounds: &Bounds, shutdown: Shutdown) -> Server {
    let metrics = MetricsSettings {
        record_error_codes: true,
        ..MetricsSettings::default()
    };
    Server {
        app_id: config.app_id.clone(),
        namespace: config.project_id.clone(),
        hosted: true,
        components: ArcSwap::default(),
        app: ArcSwapOption::empty(),
        subscriptions: Default::default(),
        invoke: Invoke::new(Peers::in_table(&config.project_id), None),
        app_settings: ArcSwap::from_pointee(nowhere()),
        // Nobody, until the agent has told the digests.
        auth: Auth::Digests(ArcSwap::default()),
        cors: None,
        // None yet; nothing is served before the agent has told them.
        rules: ArcSwap::default(),
        bindings: Default::default(),
        resiliency: Default::default(),
        max_body: AtomicUsize::new(MAX_BODY),
        budget: Budget::new(bounds.held_body_bytes),
        extended: Default::default(),
        ready: Default::default(),
        metrics: Metrics::new(&config.app_id, &config.project_id, &metrics),
        tracing: Default::default(),
        shutdown,
        end_at_once: Default::default(),
    }
}

/// The settings of an App ID without an endpoint.
pub(crate) fn nowhere() -> AppSettings {
    AppSettings {
        port: None,
        protocol: AppProtocol::Http,
        address: String::new(),
        max_concurrency: None,
        health: None,
        token: None,
    }
}

pub(crate) fn parse(id: &str) -> Result<SpiffeId, Error> {
    SpiffeId::parse(id).map_err(|error| Error::Id(format!("SPIFFE ID {id:?}: {error}")))
}

/// `spiffe://<trust domain>/ns/<project>/`.
fn project_prefix(own: &SpiffeId) -> String {
    let project = own.namespace_and_name().map_or("", |(namespace, _)| namespace);
    format!("spiffe://{}/ns/{project}/", own.trust_domain())
}

#[cfg(test)]
mod tests;
