//! Wires the platform form together and runs it.
//!
//! One idea: open everything that can fail, listen, then say ready. One task keeps issuer and own SVID fresh by the
//! wall clock, so a Sentry that was frozen for a day serves again within a second. Must never say ready before every
//! listener is bound, open or renew an issuer on the async threads, or let anybody but the configured caller reach the
//! edge authority.

use std::{sync::Arc, time::Duration as StdDuration};

use palladium_proto::sentry::ca_server::{Ca, CaServer};
use palladium_sealing::Kek;
use palladium_spiffe::SpiffeId;
use palladium_tasks::{ReadyFile, Shutdown, Tasks};
use palladium_tls::{
    ALPN_H2, Acceptor, Bundle, Limits, ServerConfig, SvidSource, TrustBundles, exactly, incoming,
    mtls_optional_client_server_config, mtls_server_config,
};
use time::{Duration, OffsetDateTime};
use tokio::{net::TcpListener, sync::watch};
use tonic::transport::Server;

use crate::{
    Config, Error, attest::Attest, attestors::Attestors, config::EdgeConfig, edge::EdgeService, journal::Journal,
    keep::Keeper, own, service::Service, subscribe, table::Identities,
};

/// Handshake, request and last-goodbye deadlines.
const HANDSHAKE: StdDuration = StdDuration::from_secs(5);
const REQUEST: StdDuration = StdDuration::from_secs(10);
const DRAIN: StdDuration = StdDuration::from_secs(5);
/// A signing request with its token has about 2 KB.
const MAX_MESSAGE: usize = 64 * 1024;

/// Runs a Sentry until `shutdown`.
///
/// # Errors
/// When it cannot start, or one of its servers ends by itself.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    config.validate()?;
    let started = OffsetDateTime::now_utc();
    let own_id = config.own_id()?;
    let (keeper, authority, edge_authority) = open(&config, started).await?;
    let bundles = TrustBundles::new();
    bundles.set(
        config.trust_domain.clone(),
        Bundle::from_der(authority.roots.iter().cloned())?,
    );
    let identities = Arc::new(Identities::open(
        config.trust_domain.clone(),
        config.platform_paths()?,
        &config.data_folder,
        bundles.clone(),
    )?);
    let leaf_ttl = Duration::seconds(config.leaf_ttl_seconds.into());
    let svid = SvidSource::new();
    let renew_own_at = own::certify(&own_id, &authority, leaf_ttl, &svid)?;
    let authority = Arc::new(watch::Sender::new(Arc::new(authority)));
    let (journal, writer) = Journal::new(&config.data_folder);

    let listener = palladium_http::bind("Sentry", config.listen, "listen in Sentry's configuration")?;
    let edge_listen = |edge: &EdgeConfig| {
        palladium_http::bind(
            "Sentry's edge authority",
            edge.listen,
            "edge.listen in Sentry's configuration",
        )
    };
    let edge_listener = config.edge.as_ref().map(edge_listen).transpose()?;

    let mut tasks = Tasks::new();
    tasks.spawn("journal", writer.run(shutdown.clone()));
    let upkeep = Upkeep {
        keeper,
        own_id: own_id.clone(),
        leaf_ttl,
        svid: svid.clone(),
        authority: authority.clone(),
    };
    tasks.spawn("upkeep", upkeep.run(renew_own_at, shutdown.clone()));
    if let Some(agent) = config.agent.clone() {
        let follow = subscribe::follow(
            agent,
            identities.clone(),
            svid.clone(),
            bundles.clone(),
            shutdown.clone(),
        );
        tasks.spawn("identities", follow);
    }
    let attest = Attest::new(own_id, Attestors::new(&config.attestors_folder), started);
    let service = Service {
        attest,
        identities,
        authority,
        leaf_ttl,
        journal: journal.clone(),
    };
    // Any valid SVID of the zone may connect: what it gets is its own renewal.
    let anybody = Arc::new(|_: &SpiffeId| true);
    let tls = mtls_optional_client_server_config(&svid, &bundles, anybody, ALPN_H2);
    let serve_workloads = serve(listener, tls, bundles.clone(), service, shutdown.clone());
    let serve_edge = async {
        let (Some(listener), Some(edge), Some(authority)) = (edge_listener, &config.edge, edge_authority) else {
            shutdown.wait().await;
            return Ok(());
        };
        let tls = mtls_server_config(&svid, &bundles, exactly(&config.edge_caller()?), ALPN_H2);
        let ttl = Duration::seconds(edge.ttl_seconds.into());
        let service = EdgeService {
            authority,
            domains: edge.domains.clone(),
            ttl,
            journal,
        };
        serve(listener, tls, bundles.clone(), service, shutdown.clone()).await
    };
    let ready = ReadyFile::create(&config.data_folder).map_err(|source| Error::File {
        path: config.data_folder.clone(),
        source,
    })?;
    tracing::info!(listen = %config.listen, trust_domain = %config.trust_domain, "sentry serves");
    let result = tokio::try_join!(serve_workloads, serve_edge);
    drop(ready);
    shutdown.trigger();
    if let Err(overdue) = tasks.drain(DRAIN).await {
        tracing::warn!(%overdue, "not everything ended in time");
    }
    result.map(|_| ())
}

type Opened = (
    Keeper,
    crate::authority::Authority,
    Option<Arc<crate::authority::Authority>>,
);

/// Opens keys and certificates off the async threads: wrapping by passphrase takes a while.
async fn open(config: &Config, now: OffsetDateTime) -> Result<Opened, Error> {
    let config = config.clone();
    let work = move || {
        let keeper = Keeper {
            folder: config.data_folder.clone(),
            kek: Kek::open(&config.kek)?,
            domain: config.trust_domain.clone(),
            issuer_name: config.own_id()?.to_string(),
            issuer_life: Duration::seconds(config.issuer_ttl_seconds.into()),
            root_life: Duration::seconds(config.root_ttl_seconds.into()),
        };
        let authority = keeper.open(now)?;
        let edge = match &config.edge {
            Some(edge) => Some(Arc::new(keeper.open_edge(&edge.domains, now)?)),
            None => None,
        };
        Ok((keeper, authority, edge))
    };
    tokio::task::spawn_blocking(work).await?
}

/// Serves one CA service until `shutdown`, then lets requests under way finish.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    bundles: TrustBundles,
    service: impl Ca,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let connections = incoming(listener, Acceptor::mtls(tls, bundles, HANDSHAKE), Limits::default());
    let server = Server::builder()
        .timeout(REQUEST)
        .concurrency_limit_per_connection(16)
        .http2_max_header_list_size(16 * 1024)
        .max_concurrent_streams(32)
        .add_service(CaServer::new(service).max_decoding_message_size(MAX_MESSAGE))
        .serve_with_incoming_shutdown(connections, shutdown.wait());
    let overdue = async {
        shutdown.wait().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = server => Ok(result?),
        () = overdue => Ok(()),
    }
}

/// Keeps the issuer and the own SVID fresh.
struct Upkeep {
    keeper: Keeper,
    own_id: SpiffeId,
    leaf_ttl: Duration,
    svid: SvidSource,
    authority: Arc<crate::authority::Current>,
}

impl Upkeep {
    async fn run(self, mut renew_own_at: OffsetDateTime, shutdown: Shutdown) {
        let step = StdDuration::from_millis(u64::try_from(self.leaf_ttl.whole_milliseconds() / 20).unwrap_or(1000))
            .min(StdDuration::from_secs(1));
        let this = Arc::new(self);
        let mut issuer_not_before = OffsetDateTime::UNIX_EPOCH;
        while shutdown.unless(tokio::time::sleep(step)).await.is_some() {
            let now = OffsetDateTime::now_utc();
            let ends = this.authority.borrow().not_after;
            if ends - now < this.keeper.issuer_life / 2 && now >= issuer_not_before {
                // Whatever happens, not again for a while: a root that is offline would be asked for in every step.
                issuer_not_before = now + Duration::max(this.keeper.issuer_life / 100, Duration::seconds(1));
                let keeper = this.clone();
                match tokio::task::spawn_blocking(move || keeper.keeper.renew(now)).await {
                    Ok(Ok(authority)) => {
                        tracing::info!(until = %authority.not_after, "issuer renewed");
                        this.authority.send_replace(Arc::new(authority));
                        renew_own_at = now;
                    }
                    Ok(Err(error)) => tracing::error!(%error, until = %ends, "issuer not renewed"),
                    Err(error) => tracing::error!(%error, "issuer not renewed"),
                }
            }
            if now >= renew_own_at {
                let authority = this.authority.borrow().clone();
                match own::certify(&this.own_id, &authority, this.leaf_ttl, &this.svid) {
                    Ok(at) => renew_own_at = at,
                    Err(error) => tracing::error!(%error, "own SVID not renewed"),
                }
            }
        }
    }
}
