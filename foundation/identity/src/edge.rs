//! The certificate of a public listener, from the zone's edge authority.
//!
//! One idea: the same call as for an SVID, on Sentry's edge port, proven by the caller's own SVID; what comes back
//! names hosts and addresses and no SPIFFE ID. A listener keeps its old certificate until it has a new one. Must never
//! use a key for two certificates, send one out of the process, or take the old certificate away before the new one is
//! usable.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use palladium_proto::sentry::sign_certificate_request::TokenValidator;
use palladium_spiffe::SpiffeId;
use palladium_tasks::{Backoff, Shutdown};
use palladium_tls::{
    ALPN_H2, Connector, PublicCert, PublicCertSource, SvidSource, TrustBundles, exactly, mtls_client_config,
    pem_certificates,
};
use rcgen::SanType;
use tokio::time::{Instant, sleep};

use crate::{
    IdentityError,
    request::{Ask, DEADLINE, NewKey},
    schedule::{Schedule, at},
};

/// What to ask for, and whom.
#[derive(Debug, Clone)]
pub struct EdgeSettings {
    /// Sentry's edge port, `host:port`.
    pub address: String,
    /// What Sentry's certificate must say.
    pub sentry_id: SpiffeId,
    /// DNS names (one wildcard label allowed) and IP addresses; the authority decides which are allowed.
    pub names: Vec<String>,
    /// How long [`EdgeIdentity::obtain`] tries.
    pub deadline: Duration,
}

/// A public listener's certificate, kept fresh.
pub struct EdgeIdentity {
    settings: EdgeSettings,
    svid: SvidSource,
    bundles: TrustBundles,
    source: PublicCertSource,
    schedule: Schedule,
}

impl EdgeIdentity {
    /// Gets the first certificate.
    ///
    /// # Errors
    /// When the authority refuses, or the deadline passes.
    pub async fn obtain(
        settings: EdgeSettings,
        svid: SvidSource,
        bundles: TrustBundles,
    ) -> Result<Self, IdentityError> {
        let now = SystemTime::now();
        let give_up = Instant::now() + settings.deadline;
        let schedule = Schedule::new(now, now);
        let mut edge = Self {
            settings,
            svid,
            bundles,
            source: PublicCertSource::new(),
            schedule,
        };
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            match edge.ask().await {
                Ok(()) => return Ok(edge),
                Err(error) if error.is_transient() && Instant::now() < give_up => {
                    tracing::debug!(%error, "no edge certificate yet");
                    sleep(backoff.next_delay()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The newest certificate, for the listener's configuration.
    pub fn source(&self) -> &PublicCertSource {
        &self.source
    }

    /// Renews at half life until `shutdown`. Never gives up: an expired certificate is seen by every client, and the
    /// log says why.
    pub async fn keep_fresh(mut self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        let mut next_try = self.schedule.renew_at;
        while shutdown.unless(sleep(self.schedule.step)).await.is_some() {
            if SystemTime::now() < next_try {
                continue;
            }
            match shutdown.unless(self.ask()).await {
                None => return,
                Some(Ok(())) => {
                    backoff.reset();
                    next_try = self.schedule.renew_at;
                }
                Some(Err(error)) => {
                    next_try = SystemTime::now() + backoff.next_delay();
                    tracing::warn!(%error, "edge certificate not renewed");
                }
            }
        }
    }

    async fn ask(&mut self) -> Result<(), IdentityError> {
        let svid = self
            .svid
            .current()
            .ok_or_else(|| IdentityError::Settings("no SVID to ask with".to_owned()))?;
        let names = self
            .settings
            .names
            .iter()
            .map(|name| san(name))
            .collect::<Result<_, _>>()?;
        let key = NewKey::generate(names)?;
        let config = mtls_client_config(&self.svid, &self.bundles, exactly(&self.settings.sentry_id), ALPN_H2);
        let ask = Ask {
            connector: Connector::mtls(config, self.bundles.clone(), DEADLINE),
            address: &self.settings.address,
            id: svid.id(),
            validator: TokenValidator::Unknown,
            token: "",
        };
        let answer = ask.send(&key).await?;
        let until = answer
            .valid_until
            .ok_or_else(|| IdentityError::Answer("no end of validity".to_owned()))?;
        let cert = PublicCert::new(pem_certificates(&answer.workload_certificate)?, key.into_private_key())?;
        self.schedule = Schedule::new(SystemTime::now(), at(until.seconds));
        self.source.set(cert);
        Ok(())
    }
}

fn san(name: &str) -> Result<SanType, IdentityError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let name = name
        .try_into()
        .map_err(|_| IdentityError::Settings(format!("{name:?} is not a host name")))?;
    Ok(SanType::DnsName(name))
}
