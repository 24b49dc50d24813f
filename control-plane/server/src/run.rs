//! Starts the control plane: identity, keys, store, first objects, both listeners; and ends it in order.
//!
//! Must never serve before the first objects exist, or outlive its identity.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use palladium_authz::Authorizer;
use palladium_component::catalog::catalog;
use palladium_control_store::Store;
use palladium_http::{Server, TlsListener, WithConnection};
use palladium_identity::Identity;
use palladium_kinds::{OrganizationId, Timestamp};
use palladium_regions::{RegionStore, Regions};
use palladium_sealing::Kek;
use palladium_tasks::{ReadyFile, Shutdown, Tasks};
use palladium_tls::{ALPN_HTTP, Acceptor, public_server_config};

use crate::api::dispatch::router;
use crate::api::stages::{App, AppParts};
use crate::bootstrap;
use crate::config::Config;
use crate::error::Error;

const HANDSHAKE: Duration = Duration::from_secs(10);
const SUMMARY: Duration = Duration::from_secs(60);
/// For the tasks that are left when all requests are done.
const LAST_TASKS: Duration = Duration::from_secs(2);

/// Runs until `shutdown`. Reads its launch envelope from standard input.
///
/// # Errors
/// When it cannot start, or has no valid identity any more; [`Error::exit_code`] says what that means to the parent.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    let organization: OrganizationId = config
        .regions
        .organization_id
        .parse()
        .map_err(|error| Error::Config(format!("regions.organization_id: {error}")))?;
    // Everything that can be wrong on this machine is found before anybody is asked for a certificate.
    let store = Store::open(&config.data_folder).await?;
    let (kek, fingerprint_key) = keys(&config).await?;
    let listener = palladium_http::bind("the control plane", config.listen, "--port-control-plane")?;
    let Some(identity) = Identity::start(&config.identity, &shutdown).await? else {
        return Ok(());
    };
    let mut tasks = Tasks::new();
    let (names, files) = (&config.names, config.certificate.as_ref());
    let certificate = identity.public_certificate(&config.identity, names, files, &mut tasks, &shutdown);
    let Some(certificate) = certificate.await? else {
        return Ok(());
    };
    let organization = bootstrap::ensure(&store, &organization, &config.bootstrap).await?;
    let (svid, bundles) = (identity.svid().clone(), identity.bundles().clone());
    let (for_regions, shared): (_, Arc<dyn RegionStore>) = (config.regions.clone(), Arc::new(store.clone()));
    let regions = tokio::task::spawn_blocking(move || Regions::open(for_regions, &kek, shared, svid, bundles))
        .await
        .map_err(|_| Error::Ended("opening the region stream"))??;
    let region_listener = regions.bind()?;
    bootstrap::ensure_join_token(&store, &organization, &regions, &config.bootstrap).await?;
    let app = Arc::new(App::new(AppParts {
        store: store.clone(),
        organization,
        authorizer: Authorizer::new()?,
        catalog: catalog(),
        regions: Arc::new(regions.clone()),
        fingerprint_key: *fingerprint_key,
        public_url: config.public_url.clone(),
        limits: config.limits.clone(),
    }));
    tasks.spawn("refusals", summarize(app.clone(), shutdown.clone()));
    let acceptor = Acceptor::public(public_server_config(&certificate, ALPN_HTTP), HANDSHAKE);
    let server = Server::new(TlsListener::new(listener, acceptor), config.limits.listener());
    let service = router(app.clone());
    let make = move |connection| WithConnection::new(TowerToHyperService::new(service.clone()), connection);
    let ready = ReadyFile::create(&config.data_folder).map_err(|error| Error::File {
        path: config.data_folder.display().to_string(),
        reason: error.to_string(),
    })?;
    tracing::info!(address = %config.listen, regions = %config.regions.listen, "control plane serves");
    let rest = async {
        server.serve(make, &shutdown).await;
        if shutdown.is_triggered() {
            Ok(())
        } else {
            Err(Error::Ended("the REST listener"))
        }
    };
    let stream = async {
        regions.serve(region_listener, shutdown.clone()).await?;
        if shutdown.is_triggered() {
            Ok(())
        } else {
            Err(Error::Ended("the region listener"))
        }
    };
    let fresh = async { identity.keep_fresh(shutdown.clone()).await.map_err(Error::from) };
    // Whichever part fails first stops the others; all of them then end in order.
    let (rest, stream, fresh) = tokio::join!(
        stops(rest, &shutdown),
        stops(stream, &shutdown),
        stops(fresh, &shutdown)
    );
    drop(ready);
    if let Err(overdue) = tasks.drain(LAST_TASKS).await {
        tracing::warn!(%overdue, "tasks were cut off at shutdown");
    }
    // What was only counted since the last time.
    app.summarize(i64::MAX).await;
    store.close().await;
    fresh.and(stream).and(rest)
}

/// When `part` ends, everything is to end.
async fn stops(part: impl Future<Output = Result<(), Error>>, shutdown: &Shutdown) -> Result<(), Error> {
    let outcome = part.await;
    shutdown.trigger();
    outcome
}

async fn keys(config: &Config) -> Result<(Kek, zeroize::Zeroizing<[u8; 32]>), Error> {
    let (source, folder) = (config.key_encryption_key.clone(), config.regions.key_folder.clone());
    tokio::task::spawn_blocking(move || {
        palladium_os::files::private_folder(&folder).map_err(|error| Error::File {
            path: folder.display().to_string(),
            reason: error.to_string(),
        })?;
        let kek = Kek::open(&source)?;
        let fingerprints = kek.stored_key("control-plane/fingerprints", &folder.join("fingerprints.key"))?;
        Ok((kek, fingerprints))
    })
    .await
    .map_err(|_| Error::Ended("opening the keys"))?
}

async fn summarize(app: Arc<App>, shutdown: Shutdown) {
    while shutdown.unless(tokio::time::sleep(SUMMARY)).await.is_some() {
        app.summarize(Timestamp::now().unix_millis()).await;
    }
}
