//! The drop-in form: this program called as `daprd`.
//!
//! One idea: the order of the start is Dapr's: identity, components, ports, and then the application; a component that
//! cannot be opened ends the start unless it says otherwise. Exit 0 after a signal, 1 when the start fails, 2 on a bad
//! command line. Must never bind a port before all components are opened (callers take an open port for a working API),
//! nor be reached in platform mode: plaintext ports and unconfined drivers are allowed only here.

mod resources;

use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use palladium_component::metadata::go_duration;
use palladium_http::Budget;
use palladium_identity::{Attestation, Identity, Roots, Settings as IdentitySettings};
use palladium_spiffe::{SpiffeId, TrustDomain};
use palladium_tasks::{Shutdown, Tasks};
use palladium_tls::Acceptor;
use resources::Resources;

use crate::app_channel::{AppChannel, ask_config, wait_for_port, watch};
use crate::auth::Auth;
use crate::config::{AppProtocol, Command, DAPR_VERSION, MtlsSettings, Settings, parse, usage};
use crate::cors::Cors;
use crate::invoke::Invoke;
use crate::invoke::mdns::{Announcement, Mdns};
use crate::invoke::peers::{self, Peers};
use crate::listen::Ports;
use crate::metrics::Metrics;
use crate::pubsub::keeper;
use crate::ready::Target;
use crate::resources::{Configuration, load_configurations};
use crate::rules::Rules;
use crate::server::{Server, or_default};
use crate::{bindings, closing, logs, workers};

/// Errors of a start are only ever read by people, in one line.
type Fatal = Box<dyn std::error::Error + Send + Sync>;

/// Runs as `daprd`. `args`: without the program's name. Call it before any thread exists.
pub fn main_drop_in(args: impl Iterator<Item = String>) -> ExitCode {
    let env: fn(&str) -> Option<String> = |name| std::env::var(name).ok();
    let settings = match parse(args, env) {
        Ok(Command::Run(settings)) => *settings,
        Ok(Command::Version) => return say(&format!("{DAPR_VERSION}\n")),
        Ok(Command::BuildInfo) => return say(&build_info()),
        Ok(Command::Help) => return say(&format!("Usage of daprd:\n{}", usage())),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}\nUsage of daprd:\n{}", usage());
            return ExitCode::from(2);
        }
    };
    palladium_tls::install_crypto_provider();
    logs::start(&settings.log_level, settings.log_json, &settings.app_id);
    let code = match workers::run(run(settings, env)) {
        Ok(threads) => {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker ended by panic");
                }
            }
            tracing::info!("Daprd shutdown gracefully");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("Fatal error from runtime: {error}");
            ExitCode::FAILURE
        }
    };
    // Some who start daprd stop reading its log as soon as it is gone, and are to see its last lines, most of all why it failed:
    // a reader of a pipe is awake within that time.
    #[expect(clippy::disallowed_methods, reason = "this thread drives no runtime any more")]
    std::thread::sleep(Duration::from_millis(50));
    code
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn build_info() -> String {
    let mut text = format!("Version: {DAPR_VERSION}\nPalladium: {}\n", env!("CARGO_PKG_VERSION"));
    for (title, catalog) in [
        ("State", palladium_components_state::DRIVERS.catalog()),
        ("Pub/sub", palladium_components_pubsub::DRIVERS.catalog()),
        ("Secret store", palladium_components_secretstores::DRIVERS.catalog()),
        ("Binding", palladium_components_bindings::DRIVERS.catalog()),
        ("Middleware", palladium_components_middleware::DRIVERS.catalog()),
        ("Conversation", palladium_components_conversation::DRIVERS.catalog()),
        (
            "Configuration store",
            palladium_components_configuration::DRIVERS.catalog(),
        ),
        ("Lock store", palladium_components_lock::DRIVERS.catalog()),
        ("Cryptography", palladium_components_crypto::DRIVERS.catalog()),
    ] {
        text.push_str(&format!("{title} components:\n"));
        for driver in catalog.components {
            text.push_str(&format!("- {} ({})\n", driver.type_name, driver.versions.join(", ")));
        }
    }
    text
}

async fn run(
    mut settings: Settings,
    env: fn(&str) -> Option<String>,
) -> Result<Vec<std::thread::JoinHandle<()>>, Fatal> {
    let start = Instant::now();
    // First of all: who has started this may want to end it before it serves.
    let signals = Shutdown::on_signals()?;
    tracing::info!(
        "Starting Dapr Runtime -- version {DAPR_VERSION} -- Palladium {}",
        env!("CARGO_PKG_VERSION")
    );
    let mut configuration = load_configurations(&settings.config_files)?;
    let logging = &mut configuration.api_logging;
    logging.enabled = settings.api_logging.unwrap_or(logging.enabled);
    configuration.tracing.with_environment(&env)?;
    if configuration.metrics.enabled == Some(false) {
        settings.listen.metrics_port = None;
    }
    let mut tasks = Tasks::new();

    let mut own = None;
    let internal = match &settings.mtls {
        None => None,
        Some(mtls) => {
            let identity = signals
                .unless(identity(mtls, &settings, &configuration))
                .await
                .ok_or("stopped before the start was over")??;
            let anybody: palladium_tls::Authorizer = Arc::new(|_: &SpiffeId| true);
            let config =
                palladium_tls::mtls_server_config(identity.svid(), identity.bundles(), anybody, palladium_tls::ALPN_H2);
            own = Some(peers::Identity {
                svid: identity.svid().clone(),
                bundles: identity.bundles().clone(),
            });
            let acceptor = Acceptor::mtls(config, identity.bundles().clone(), Duration::from_secs(10));
            let stop = signals.child();
            tasks.spawn("identity", async move {
                if let Err(error) = identity.keep_fresh(stop).await {
                    tracing::error!(%error, "the identity is lost");
                }
            });
            tracing::info!("mTLS enabled");
            Some(acceptor)
        }
    };

    let server = Arc::new(new_server(&settings, &configuration, own)?);
    let observed = server.observe(&configuration);
    observed.map_err(|error| format!("failed to setup tracing: {error}"))?;
    if settings
        .unasked_endpoints
        .iter()
        .any(|endpoint| endpoint == "subscribe")
    {
        server.subscriptions.do_not_ask();
    }
    let resources = signals
        .unless(Resources::open(&server, &settings, &configuration, env))
        .await
        .ok_or("stopped before the start was over")??;
    server.ready.set(Target::Outbound);
    let (failed, mut later) = tokio::sync::oneshot::channel();
    if !configuration.without_hot_reload && !settings.resources_paths.is_empty() {
        let stop = signals.child();
        tasks.spawn("resources", async move {
            if let Err(error) = resources.follow(stop).await {
                let _ = failed.send(error);
            }
        });
    }

    let workers = workers::count();
    let ports = Ports::open(
        &settings.listen,
        &settings.app_id,
        workers,
        settings.read_buffer,
        // The process as a whole ends first.
        settings.graceful_shutdown + Duration::from_secs(5),
    )
    .await?;
    announce(&server, &settings, ports.internal_port(), &mut tasks);
    let (first, threads) = workers::spread(ports.works(&server, internal))?;
    if let Some(first) = first {
        tasks.spawn("worker-0", first);
    }
    server.ready.set(Target::Api);
    server.ready.set(Target::Internal);

    let connected = signals.unless(connect_app(&server, &settings, &mut tasks)).await;
    let (looked, first_look) = tokio::sync::oneshot::channel();
    tasks.spawn(
        "bindings-keeper",
        bindings::keeper::keep(server.clone(), signals.child()),
    );
    tasks.spawn("pubsub-keeper", keeper::keep(server.clone(), looked, signals.child()));
    workers::give_back_after_start(&mut tasks, signals.child());
    if connected.is_some() && signals.unless(first_look).await.is_some() {
        server.ready.set(Target::Runtime);
        tracing::info!(
            "dapr initialized. Status: Running. Init Elapsed {}ms",
            start.elapsed().as_millis()
        );
    }
    let mut fatal = None;
    tokio::select! {
        () = signals.wait() => {}
        () = server.shutdown.wait() => {}
        Ok(error) = &mut later => fatal = Some(error),
    }
    if server.end_at_once.load(Ordering::Acquire) {
        tracing::warn!("Force shutdown requested, exiting immediately without graceful shutdown");
        // Time for the answer to who asked.
        tokio::time::sleep(Duration::from_millis(100)).await;
        return Err("a caller asked for the end at once".into());
    }
    block_shutdown(&server, &settings).await;
    tracing::info!(
        "Dapr is shutting down; calls under way have {:?}",
        settings.graceful_shutdown
    );
    server.shutdown.trigger();
    signals.trigger();
    let patience = settings.graceful_shutdown.max(Duration::from_secs(1));
    if let Err(overdue) = tasks.drain(patience).await {
        tracing::error!(%overdue, "Graceful shutdown timeout exceeded, forcing shutdown");
        fatal.get_or_insert_with(|| "calls under way did not end in time".into());
    }
    closing::close_all(&server.components.load_full()).await;
    server.tracing.close().await;
    fatal.map_or(Ok(threads), Err)
}

fn new_server(
    settings: &Settings,
    configuration: &Configuration,
    identity: Option<peers::Identity>,
) -> Result<Server, Fatal> {
    let http = !matches!(settings.app.protocol, AppProtocol::Grpc | AppProtocol::Grpcs);
    let rules = Rules::new(configuration, http)?;
    let namespace = or_default(&settings.namespace);
    let peers = Peers::on_network(namespace, identity);
    let host = host_name();
    Ok(Server {
        invoke: Invoke::new(peers, Some((&host, settings.host))),
        app_id: settings.app_id.clone(),
        namespace: settings.namespace.clone(),
        hosted: false,
        components: ArcSwap::default(),
        app: ArcSwapOption::empty(),
        subscriptions: Default::default(),
        app_settings: ArcSwap::from_pointee(settings.app.clone()),
        auth: settings.api_token.clone().map_or(Auth::Open, Auth::Token),
        cors: Cors::from_flag(&settings.allowed_origins),
        rules: ArcSwap::from_pointee(rules),
        bindings: Default::default(),
        resiliency: Default::default(),
        max_body: AtomicUsize::new(settings.max_body),
        budget: Budget::new(settings.held_bodies()),
        extended: Default::default(),
        ready: Default::default(),
        metrics: Metrics::new(&settings.app_id, &settings.namespace, &configuration.metrics),
        tracing: Default::default(),
        shutdown: Shutdown::new(),
        end_at_once: Default::default(),
    })
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost" } else { name }.to_owned()
}

/// Says on the network that this App ID is here, and listens for others.
fn announce(server: &Server, settings: &Settings, port: Option<u16>, tasks: &mut Tasks) {
    let host = host_name();
    let listens = settings.listen.internal_address.trim_matches(['[', ']']);
    let ip = listens.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified());
    let own = port.map(|port| Announcement {
        app_id: settings.app_id.clone(),
        instance: format!("{host}:{}", std::process::id()),
        host,
        address: (ip.unwrap_or(settings.host), port).into(),
    });
    match Mdns::open(own, server.shutdown.child()) {
        Ok((mdns, task)) => {
            tasks.spawn("mdns", task);
            server.invoke.peers.listen(mdns);
            tracing::info!("Initialized name resolution to mdns");
        }
        Err(error) => tracing::warn!("Other App IDs cannot be found by multicast DNS: {error}"),
    }
}

async fn identity(mtls: &MtlsSettings, settings: &Settings, configuration: &Configuration) -> Result<Identity, Fatal> {
    let namespace = or_default(&settings.namespace);
    // Applications are in the trust domain "public" unless access control says otherwise.
    let id = SpiffeId::workload(
        &TrustDomain::parse(configuration.access.trust_domain())?,
        namespace,
        &settings.app_id,
    )?;
    let domain = TrustDomain::parse(&mtls.control_plane_trust_domain)?;
    let sentry_id = SpiffeId::workload(&domain, &mtls.control_plane_namespace, "dapr-sentry")?;
    let identity = IdentitySettings {
        id,
        sentry_address: mtls.sentry_address.clone(),
        sentry_id,
        roots: Roots::Shared(mtls.trust_anchors.clone()),
        deadline: Duration::from_secs(60),
    };
    Ok(Identity::obtain(
        identity,
        Attestation::Dapr {
            token_file: mtls.token_file.clone(),
        },
    )
    .await?)
}

/// How long the start waits for what the application is asked first, its health and its configuration: calls in that time
/// would be refused, but an application that does not answer must not keep others from what needs none.
const FIRST_ANSWER: Duration = Duration::from_secs(1);

/// Waits for the application and makes the channel to it.
async fn connect_app(server: &Arc<Server>, settings: &Settings, tasks: &mut Tasks) {
    let Some(port) = settings.app.port else { return };
    wait_for_port(&settings.app.address, port).await;
    let channel = match AppChannel::local(&settings.app, port) {
        Ok(channel) => Arc::new(channel.behind(server)),
        Err(error) => {
            tracing::error!("The application cannot be called: {error}");
            return;
        }
    };
    server.app.store(Some(channel.clone()));
    if let Some(health) = settings.app.health.clone() {
        let (probed, first) = tokio::sync::oneshot::channel();
        let stop = server.shutdown.child();
        tasks.spawn("app-health", watch(channel.clone(), health, probed, stop));
        let _ = tokio::time::timeout(FIRST_ANSWER, first).await;
    }
    server.bindings.ring();
    if settings.unasked_endpoints.iter().all(|endpoint| endpoint != "config") {
        let stop = server.shutdown.child();
        let healthy = channel.is_healthy();
        let (asked, answered) = tokio::sync::oneshot::channel();
        tasks.spawn("app-config", async move {
            let _ = stop.unless(ask_config(&channel)).await;
            let _ = asked.send(());
        });
        // As in Dapr, a start is not over before.
        if healthy {
            let _ = tokio::time::timeout(FIRST_ANSWER, answered).await;
        }
    } else {
        tracing::warn!("Skipping programmatic dapr configuration loading (see 'disable-init-endpoints')");
    }
}

/// Goes on serving for a while after the signal, but not for an application that is gone.
async fn block_shutdown(server: &Server, settings: &Settings) {
    let Some(duration) = settings.block_shutdown.filter(|duration| !duration.is_zero()) else {
        return;
    };
    let told = go_duration(duration);
    tracing::info!("Blocking graceful shutdown for {told} or until app reports unhealthy...");
    let unhealthy = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if server.app.load().as_ref().is_some_and(|app| !app.is_healthy()) {
                return;
            }
        }
    };
    tokio::select! {
        () = tokio::time::sleep(duration) => tracing::info!("Block shutdown period expired, entering shutdown..."),
        () = unhealthy => tracing::info!("App reported unhealthy, entering shutdown..."),
    }
}
