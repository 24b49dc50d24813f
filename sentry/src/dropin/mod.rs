//! The drop-in form: Dapr's `sentry`, with its flags, files, validators and texts.
//!
//! One idea: only what differs from the platform lives here (who is believed, where keys lie, what is published);
//! signing and checking are the same. Kubernetes mode and the OIDC server do not exist yet and are refused, not
//! ignored. Must never certify a workload by another way than `service::sign_and_check`, nor use the platform's
//! attestors, identity table or journal.

mod configuration;
mod credentials;
mod duration;
mod flags;
mod http;
mod jwks;
mod jwt;
mod metrics;
mod service;
mod validate;

use std::{ffi::OsString, process::ExitCode, sync::Arc, time::Duration as StdDuration};

use palladium_spiffe::{SpiffeId, TrustDomain};
use palladium_tasks::{Shutdown, Tasks};
use palladium_tls::{ALPN_H2, SvidSource, TrustBundles, svid_server_config};
use time::{Duration, OffsetDateTime};
use tokio::sync::watch;

use self::{
    configuration::Configuration, credentials::Credentials, flags::Flags, jwt::JwtSigner, metrics::Metrics,
    service::DaprService, validate::Validators,
};
use crate::{Error, authority::Current, own, run::serve};

/// Life of Sentry's own certificate.
const OWN_LIFE: Duration = Duration::hours(24);

/// Dapr's `sentry` as a whole program: parses `args` (the program's name first), serves until SIGTERM or SIGINT.
pub fn main_drop_in(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::parse(args) {
        Ok(flags) => flags,
        Err(error) => {
            // Help goes to standard output and mistakes to standard error; if even that fails, nobody can be told.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    palladium_tls::install_crypto_provider();
    // A second logger in one process can only be a test's; then the first one stays.
    let _ = palladium_telemetry::init(&flags.log());
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return ExitCode::from(70);
        }
    };
    let result = runtime.block_on(async {
        let shutdown = Shutdown::on_signals().map_err(|source| Error::File {
            path: "signal handlers".into(),
            source,
        })?;
        run(flags, shutdown).await
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "sentry failed");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(flags: Flags, shutdown: Shutdown) -> Result<(), Error> {
    flags.validate()?;
    let namespace = std::env::var("NAMESPACE").ok().filter(|name| !name.is_empty());
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let config_error = |what: &str, error: &dyn std::fmt::Display| Error::Config(format!("{what}: {error}"));
    let domain = TrustDomain::parse(&flags.trust_domain).map_err(|error| config_error("trust-domain", &error))?;
    let own_id =
        SpiffeId::workload(&domain, &namespace, "dapr-sentry").map_err(|error| config_error("NAMESPACE", &error))?;
    let configuration = Configuration::load(&flags.config).await?;
    let validators = Validators::new(&configuration, own_id.clone())?;

    let mut credentials = Credentials::new(&flags, &own_id, configuration.allowed_clock_skew);
    let authority = credentials.load_or_generate(OffsetDateTime::now_utc()).await?;
    let jwt = if flags.jwt_enabled {
        Some(JwtSigner::load_or_generate(&flags, configuration.allowed_clock_skew).await?)
    } else {
        None
    };
    let svid = SvidSource::new();
    let renew_own_at = own::certify(&own_id, &authority, OWN_LIFE, &svid)?;
    let metrics = Arc::new(Metrics::new());
    metrics.issuer_expires(authority.not_after);
    let bundles: TrustBundles = authority.bundles.clone();
    let authority = Arc::new(watch::Sender::new(Arc::new(authority)));

    let listener = http::bind(&flags.listen_address, flags.port, "--port").await?;
    let health = http::bind(&flags.healthz_listen_address, flags.healthz_port, "--healthz-port").await?;
    let mut tasks = Tasks::new();
    tasks.spawn("healthz", http::serve_health(health, shutdown.clone()));
    if flags.enable_metrics {
        let listener = http::bind(&flags.metrics_listen_address, flags.metrics_port, "--metrics-port").await?;
        tasks.spawn(
            "metrics",
            http::serve_metrics(listener, metrics.clone(), shutdown.clone()),
        );
    }
    let upkeep = Upkeep {
        credentials,
        own_id,
        svid: svid.clone(),
        authority: authority.clone(),
        metrics: metrics.clone(),
    };
    tasks.spawn("upkeep", upkeep.run(renew_own_at, shutdown.clone()));
    let service = DaprService {
        validators,
        authority,
        workload_ttl: configuration.workload_cert_ttl,
        clock_skew: configuration.allowed_clock_skew,
        control_plane_namespace: namespace,
        cluster_domain: domain.to_string(),
        jwt,
        metrics,
    };
    tracing::info!(port = flags.port, trust_domain = %domain, "sentry serves");
    let result = serve(
        listener,
        svid_server_config(&svid, ALPN_H2),
        bundles,
        service,
        shutdown.clone(),
    )
    .await;
    shutdown.trigger();
    if let Err(overdue) = tasks.drain(StdDuration::from_secs(3)).await {
        tracing::warn!(%overdue, "not everything ended in time");
    }
    result
}

/// Follows the credential files and keeps Sentry's own certificate fresh.
struct Upkeep {
    credentials: Credentials,
    own_id: SpiffeId,
    svid: SvidSource,
    authority: Arc<Current>,
    metrics: Arc<Metrics>,
}

impl Upkeep {
    async fn run(mut self, mut renew_own_at: OffsetDateTime, shutdown: Shutdown) {
        while shutdown
            .unless(tokio::time::sleep(StdDuration::from_secs(1)))
            .await
            .is_some()
        {
            match self.credentials.reload_if_changed().await {
                Ok(None) => {}
                Ok(Some(authority)) => {
                    tracing::info!(until = %authority.not_after, "issuer credentials changed");
                    self.metrics.issuer_changed(authority.not_after);
                    self.authority.send_replace(Arc::new(authority));
                    renew_own_at = OffsetDateTime::now_utc();
                }
                Err(error) => tracing::error!(%error, "changed issuer credentials are unusable; keeping the old ones"),
            }
            let now = OffsetDateTime::now_utc();
            if now >= renew_own_at {
                let authority = self.authority.borrow().clone();
                match own::certify(&self.own_id, &authority, OWN_LIFE, &self.svid) {
                    Ok(at) => renew_own_at = at,
                    Err(error) => {
                        self.metrics.server_certificate_failed();
                        tracing::error!(%error, "own certificate not renewed");
                        renew_own_at = now + Duration::seconds(10);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
