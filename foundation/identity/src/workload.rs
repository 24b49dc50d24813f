//! The SVID of this process: the first one, and all that follow.
//!
//! One idea: attestation happens once per life of a process (platform mode); afterwards the SVID renews itself over mutual
//! TLS. A failed renewal is repeated with back-off as long as the SVID lives, and the old one is used meanwhile.
//! Never serves on with an expired SVID.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use palladium_proto::sentry::sign_certificate_request::TokenValidator;
use palladium_spiffe::SpiffeId;
use palladium_tasks::{Backoff, Shutdown};
use palladium_tls::{
    ALPN_H2, Connector, Side, Svid, SvidSource, TrustBundles, exactly, mtls_client_config,
    svid_client_without_certificate, verify_svid,
};
use rustls_pki_types::UnixTime;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::{
    IdentityConfig, IdentityError, Roots,
    request::{Ask, DEADLINE, NewKey},
    roots::Loader,
    schedule::{Schedule, at},
};

/// How the process proves who it is.
#[derive(Debug)]
pub enum Attestation {
    /// A single-use JWT from the launch envelope; renewal is by the SVID itself.
    Once(SecretString),
    /// Dapr's way: a token file (`DAPR_SENTRY_TOKEN_FILE`), read for every request, or no token at all, which Sentry's
    /// default validator judges.
    Dapr {
        /// The token file.
        token_file: Option<PathBuf>,
    },
}

/// Who the process is to be, and whom to ask.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The SPIFFE ID to get; of the form `/ns/<namespace>/<name>`.
    pub id: SpiffeId,
    /// Sentry's `host:port`.
    pub sentry_address: String,
    /// What Sentry's certificate must say.
    pub sentry_id: SpiffeId,
    /// What Sentry and all peers of the own trust domain are verified against.
    pub roots: Roots,
    /// How long [`Identity::obtain`] tries; less than the life of an attestation (60 s).
    pub deadline: Duration,
}

impl Settings {
    /// For a role of the platform.
    ///
    /// # Errors
    /// When one of the IDs is not a SPIFFE ID.
    pub fn platform(config: &IdentityConfig) -> Result<Self, IdentityError> {
        let parse = |text: &str| {
            SpiffeId::parse(text).map_err(|error| IdentityError::Settings(format!("SPIFFE ID {text:?}: {error}")))
        };
        Ok(Self {
            id: parse(&config.spiffe_id)?,
            sentry_address: config.sentry_address.to_string(),
            sentry_id: parse(&config.sentry_id)?,
            roots: Roots::File(config.roots_file.clone()),
            deadline: Duration::from_secs(50),
        })
    }
}

/// A process's identity. Give [`Identity::svid`] and [`Identity::bundles`] to `palladium-tls`, and run
/// [`Identity::keep_fresh`] as a task of the process.
pub struct Identity {
    settings: Settings,
    attestation: Attestation,
    svid: SvidSource,
    bundles: TrustBundles,
    roots: Loader,
    schedule: Schedule,
}

impl Identity {
    /// Gets the first SVID. Waits for the roots file and for Sentry, up to the deadline in the settings.
    ///
    /// # Errors
    /// When Sentry refuses, or the deadline passes; see [`IdentityError::wants_attestation`].
    pub async fn obtain(settings: Settings, attestation: Attestation) -> Result<Self, IdentityError> {
        let bundles = TrustBundles::new();
        let roots = Loader::new(
            settings.roots.clone(),
            settings.id.trust_domain().clone(),
            bundles.clone(),
        );
        let now = SystemTime::now();
        let schedule = Schedule::new(now, now);
        let mut identity = Self {
            settings,
            attestation,
            svid: SvidSource::new(),
            bundles,
            roots,
            schedule,
        };
        let give_up = Instant::now() + identity.settings.deadline;
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            match identity.attest().await {
                Ok(()) => return Ok(identity),
                Err(error) if identity.may_ask_again(&error) && Instant::now() < give_up => {
                    tracing::debug!(%error, "no identity yet");
                    sleep(backoff.next_delay()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// In Dapr's form no token is used up by an answer that cannot be used, such as a certificate that is over already.
    fn may_ask_again(&self, error: &IdentityError) -> bool {
        let dapr = matches!(self.attestation, Attestation::Dapr { .. });
        error.is_transient() || (dapr && matches!(error, IdentityError::Answer(_)))
    }

    /// The newest SVID, for TLS configurations.
    pub fn svid(&self) -> &SvidSource {
        &self.svid
    }

    /// The trusted roots, for TLS configurations.
    pub fn bundles(&self) -> &TrustBundles {
        &self.bundles
    }

    /// Renews at half life until `shutdown`.
    ///
    /// # Errors
    /// [`IdentityError::Expired`] within a second of the SVID's end (wall clock), in platform mode. In Dapr's form it
    /// attests again instead and never fails.
    pub async fn keep_fresh(mut self, shutdown: Shutdown) -> Result<(), IdentityError> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut next_try = self.schedule.renew_at;
        loop {
            if shutdown.unless(sleep(self.schedule.step)).await.is_none() {
                return Ok(());
            }
            let now = SystemTime::now();
            if now >= self.schedule.expires && matches!(self.attestation, Attestation::Once(_)) {
                return Err(IdentityError::Expired(self.settings.id));
            }
            if let Err(error) = self.roots.load().await {
                tracing::warn!(%error, "keeping the roots as they were");
            }
            if now < next_try {
                continue;
            }
            let renewal = async {
                match self.attestation {
                    Attestation::Once(_) => self.renew().await,
                    Attestation::Dapr { .. } => self.attest().await,
                }
            };
            let Some(result) = shutdown.unless(renewal).await else {
                return Ok(());
            };
            match result {
                Ok(()) => {
                    backoff.reset();
                    next_try = self.schedule.renew_at;
                    tracing::debug!(id = %self.settings.id, "SVID renewed");
                }
                Err(error) => {
                    let left = self.schedule.expires.duration_since(now).unwrap_or_default();
                    // With seconds left, do not sleep past the end.
                    let delay = backoff.next_delay().min((left / 4).max(Duration::from_millis(100)));
                    next_try = SystemTime::now() + delay;
                    tracing::warn!(%error, id = %self.settings.id, left_seconds = left.as_secs(), "SVID not renewed");
                }
            }
        }
    }

    /// Asks with the token, over TLS that authenticates Sentry only.
    async fn attest(&mut self) -> Result<(), IdentityError> {
        self.roots.load().await?;
        let config = svid_client_without_certificate(&self.bundles, exactly(&self.settings.sentry_id), ALPN_H2);
        let (validator, token) = match &self.attestation {
            Attestation::Once(jwt) => (TokenValidator::Jwks, Zeroizing::new(jwt.expose_secret().to_owned())),
            Attestation::Dapr { token_file: None } => (TokenValidator::Unknown, Zeroizing::default()),
            Attestation::Dapr { token_file: Some(path) } => {
                let token = tokio::fs::read_to_string(path)
                    .await
                    .map(Zeroizing::new)
                    .map_err(|error| {
                        IdentityError::Settings(format!("cannot read token file {}: {error}", path.display()))
                    })?;
                (TokenValidator::Jwks, Zeroizing::new(token.trim().to_owned()))
            }
        };
        self.ask(config, validator, &token).await
    }

    /// Asks with the SVID.
    async fn renew(&mut self) -> Result<(), IdentityError> {
        let config = mtls_client_config(&self.svid, &self.bundles, exactly(&self.settings.sentry_id), ALPN_H2);
        self.ask(config, TokenValidator::Unknown, "").await
    }

    async fn ask(
        &mut self,
        config: std::sync::Arc<palladium_tls::ClientConfig>,
        validator: TokenValidator,
        token: &str,
    ) -> Result<(), IdentityError> {
        let dapr = matches!(self.attestation, Attestation::Dapr { .. });
        let key = if dapr {
            NewKey::for_dapr()?
        } else {
            NewKey::generate(Vec::new())?
        };
        let ask = Ask {
            connector: Connector::mtls(config, self.bundles.clone(), DEADLINE),
            address: &self.settings.sentry_address,
            id: &self.settings.id,
            validator,
            token,
        };
        let answer = ask.send(&key).await?;
        let rules = self.bundles.rules();
        let svid = Svid::from_pem_by(&answer.workload_certificate, key.into_private_key(), rules)?;
        // Dapr's Sentry has the last word about the trust domain.
        let same = *svid.id() == self.settings.id || (dapr && svid.id().path() == self.settings.id.path());
        if !same {
            return Err(IdentityError::Answer(format!(
                "the certificate names {} instead of {}",
                svid.id(),
                self.settings.id
            )));
        }
        let (leaf, intermediates) = svid
            .chain()
            .split_first()
            .ok_or(palladium_tls::TlsError::NoCertificate)?;
        for side in [Side::Client, Side::Server] {
            verify_svid(leaf, intermediates, &self.bundles, UnixTime::now(), side)?;
        }
        self.schedule = Schedule::new(SystemTime::now(), at(svid.leaf().not_after));
        self.svid.set(svid);
        Ok(())
    }
}
