//! Starts an agent: identity, state from disk, listener; then the control plane, the supervisor, the reconcilers.
//!
//! Must never wait for the control plane before serving: everything works from last-known-good.

use std::sync::Arc;
use std::time::Duration;

use palladium_identity::{Attestor, Identity};
use palladium_launch::Envelope;
use palladium_sealing::Kek;
use palladium_spiffe::SpiffeId;
use palladium_tasks::{ReadyFile, Shutdown, Tasks};
use palladium_tls::{SvidSource, TrustBundles};
use tokio::net::TcpListener;

use crate::error::at;
use crate::region::Region;
use crate::supervisor::Supervisor;
use crate::{Config, Error, metrics, reconcile, serve, zone};

const DRAIN: Duration = Duration::from_secs(5);
/// How often the guard rails' file is looked at.
const RAILS: Duration = Duration::from_secs(2);

/// Runs an agent until `shutdown`. Reads its launch envelope from standard input first.
///
/// # Errors
/// When it cannot start, or has no valid identity any more; [`Error::exit_code`] says what that means to the parent.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let envelope = Envelope::from_parent().await?;
    run_attested(config, envelope, shutdown).await
}

/// As [`run`], with the launch envelope in hand.
///
/// # Errors
/// As [`run`].
pub async fn run_attested(config: Config, envelope: Envelope, shutdown: Shutdown) -> Result<(), Error> {
    let region = open(config).await?;
    let listener = palladium_http::bind("the agent", region.config.listen, "listen in the agent's configuration")?;
    let Some(identity) = Identity::attested(&region.config.identity, envelope, &shutdown).await? else {
        return Ok(());
    };
    let (svid, bundles) = (identity.svid().clone(), identity.bundles().clone());
    let outcome = tokio::select! {
        fresh = identity.keep_fresh(shutdown.clone()) => fresh.map_err(Error::from),
        served = run_with(region, listener, svid, bundles, shutdown.clone()) => served,
    };
    shutdown.trigger();
    outcome
}

/// Opens the region's state off the async threads.
pub(crate) async fn open(config: Config) -> Result<Arc<Region>, Error> {
    blocking(move || Region::open(config)).await.map(Arc::new)
}

/// Runs everything behind the identity.
pub(crate) async fn run_with(
    region: Arc<Region>,
    listener: TcpListener,
    svid: SvidSource,
    bundles: TrustBundles,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let mut tasks = Tasks::new();
    if let Some(config) = &region.config.metrics {
        let dial = metrics::ask::mutual_tls(svid.clone(), bundles.clone());
        let endpoint = metrics::Endpoint::new(config, dial)?;
        tasks.spawn("metrics", endpoint.serve(region.clone(), shutdown.clone()));
    }
    let supervisor = Supervisor::new(&region.config.supervisor_socket);
    tasks.spawn(
        "supervisor",
        supervisor.clone().follow(region.clone(), shutdown.clone()),
    );
    tasks.spawn("guard-rails", watch_rails(region.clone(), shutdown.clone()));
    tasks.spawn("control-plane", zone::link(region.clone(), shutdown.clone()));
    for (name, task) in reconcile::tasks(&region, &supervisor, &shutdown) {
        tasks.spawn(name, task);
    }
    let data_folder = &region.config.data_folder;
    let ready = ReadyFile::create(data_folder).map_err(at(data_folder))?;
    tracing::info!(listen = %region.config.listen, region = region.config.region_id, "agent serves");
    let served = serve::serve(region.clone(), listener, &svid, &bundles, shutdown.clone()).await;
    drop(ready);
    shutdown.trigger();
    if let Err(overdue) = tasks.drain(DRAIN).await {
        tracing::warn!(%overdue, "tasks were cut off at shutdown");
    }
    served
}

async fn watch_rails(region: Arc<Region>, shutdown: Shutdown) {
    while shutdown.unless(tokio::time::sleep(RAILS)).await.is_some() {
        let region = region.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || region.refresh_rails()).await {
            tracing::error!(%error, "guard rails were not looked at");
        }
    }
}

/// Opens the attestor, made at the first start, and publishes its public half in Sentry's root-of-trust folder: it may speak
/// for `/ns/prj-*` only. Blocks on local disk.
pub(crate) fn open_attestor(config: &Config, kek: &Kek) -> Result<Attestor, Error> {
    let sentry = SpiffeId::parse(&config.identity.sentry_id)
        .map_err(|error| Error::Config(format!("identity.sentry_id: {error}")))?;
    let attestor = Attestor::open(kek, &config.data_folder.join("attestor.key"), sentry)?;
    palladium_os::files::private_folder(&config.trust_folder)?;
    attestor.publish(&config.trust_folder, "agent", &["/ns/prj-*"])?;
    Ok(attestor)
}

/// Runs disk work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await?
}
