//! How a role of the platform begins: from its launch envelope to its SVID, and to the certificate of its public listener.
//!
//! One idea: every role begins alike, from the same part of its configuration, and can be told to stop at any moment of
//! it. Must never end in an identity other than the configured one, nor take a certificate of the workload authority for
//! a public one.

use std::time::Duration;

use palladium_spiffe::SpiffeId;
use palladium_tasks::{Shutdown, Tasks};
use palladium_tls::PublicCertSource;

use crate::{
    Attestation, CertificateFiles, EdgeFiles, EdgeIdentity, EdgeSettings, Envelope, Identity, IdentityConfig,
    IdentityError, Settings,
};

const EDGE_DEADLINE: Duration = Duration::from_secs(50);

impl Identity {
    /// Reads the launch envelope from standard input and gets the first SVID; `None` when told to stop before.
    ///
    /// # Errors
    /// When there is no envelope, and as [`Identity::obtain`].
    pub async fn start(config: &IdentityConfig, shutdown: &Shutdown) -> Result<Option<Self>, IdentityError> {
        let envelope = Envelope::from_parent().await?;
        Self::attested(config, envelope, shutdown).await
    }

    /// As [`Identity::start`], with the launch envelope in hand.
    ///
    /// # Errors
    /// As [`Identity::obtain`].
    pub async fn attested(
        config: &IdentityConfig,
        envelope: Envelope,
        shutdown: &Shutdown,
    ) -> Result<Option<Self>, IdentityError> {
        let settings = Settings::platform(config)?;
        let obtain = Self::obtain(settings, Attestation::Once(envelope.attestation_jwt));
        shutdown.unless(obtain).await.transpose()
    }

    /// The first certificate of a public listener, for `names`: from `files` where they are supplied, else from the
    /// zone's edge authority. A task in `tasks` keeps it fresh. `None` when told to stop before.
    ///
    /// # Errors
    /// When the files cannot be used, or the authority refuses or does not answer in time.
    pub async fn public_certificate(
        &self,
        config: &IdentityConfig,
        names: &[String],
        files: Option<&CertificateFiles>,
        tasks: &mut Tasks,
        shutdown: &Shutdown,
    ) -> Result<Option<PublicCertSource>, IdentityError> {
        let Some(files) = files else {
            return self.edge_certificate(config, names, tasks, shutdown).await;
        };
        let edge = EdgeFiles::open(&files.chain_file, &files.key_file).await;
        let edge = edge.map_err(|error| IdentityError::Files {
            chain: files.chain_file.clone(),
            key: files.key_file.clone(),
            reason: error.to_string(),
        })?;
        let source = edge.source().clone();
        tasks.spawn("edge-certificate-files", edge.keep_fresh(shutdown.clone()));
        Ok(Some(source))
    }

    async fn edge_certificate(
        &self,
        config: &IdentityConfig,
        names: &[String],
        tasks: &mut Tasks,
        shutdown: &Shutdown,
    ) -> Result<Option<PublicCertSource>, IdentityError> {
        let wrong = |what: &str| IdentityError::Settings(what.to_owned());
        let address = config
            .edge_address
            .ok_or_else(|| wrong("edge_address: needed unless certificate.chain_file and key_file are given"))?;
        let sentry_id = SpiffeId::parse(&config.sentry_id).map_err(|error| wrong(&format!("sentry_id: {error}")))?;
        let settings = EdgeSettings {
            address: address.to_string(),
            sentry_id,
            names: names.to_vec(),
            deadline: EDGE_DEADLINE,
        };
        let obtain = EdgeIdentity::obtain(settings, self.svid().clone(), self.bundles().clone());
        let Some(edge) = shutdown.unless(obtain).await.transpose()? else {
            return Ok(None);
        };
        let source = edge.source().clone();
        tasks.spawn("edge-certificate", edge.keep_fresh(shutdown.clone()));
        Ok(Some(source))
    }
}
