//! The certificate of the public listener: from the zone's edge authority, or from files that are re-read.
//!
//! One idea: both ways end in one source that the listener reads at each handshake, so that a renewal needs no restart.
//! Must never take the old certificate away before the new pair fits together, nor block a worker on disk.

use std::path::Path;
use std::time::{Duration, SystemTime};

use palladium_identity::{EdgeIdentity, EdgeSettings, Identity};
use palladium_spiffe::SpiffeId;
use palladium_tasks::{Shutdown, Tasks};
use palladium_tls::{PublicCert, PublicCertSource};

use crate::config::{CertificateFiles, Config};
use crate::error::Error;

const DEADLINE: Duration = Duration::from_secs(50);
const LOOK: Duration = Duration::from_secs(2);

/// The first certificate; a task in `tasks` keeps it fresh.
pub(crate) async fn certificate(
    config: &Config,
    identity: &Identity,
    tasks: &mut Tasks,
    shutdown: &Shutdown,
) -> Result<PublicCertSource, Error> {
    if let Some(files) = &config.certificate {
        let source = PublicCertSource::new();
        let seen = stamp(files).await;
        source.set(read(files).await?);
        tasks.spawn(
            "edge-certificate-files",
            follow(files.clone(), seen, source.clone(), shutdown.clone()),
        );
        return Ok(source);
    }
    let address = config.identity.edge_address.ok_or_else(|| {
        Error::Config("identity.edge_address: needed unless certificate.chain_file and key_file are given".to_owned())
    })?;
    let sentry_id = SpiffeId::parse(&config.identity.sentry_id)
        .map_err(|error| Error::Config(format!("identity.sentry_id: {error}")))?;
    let settings = EdgeSettings {
        address: address.to_string(),
        sentry_id,
        names: config.names.clone(),
        deadline: DEADLINE,
    };
    let edge = EdgeIdentity::obtain(settings, identity.svid().clone(), identity.bundles().clone()).await?;
    let source = edge.source().clone();
    tasks.spawn("edge-certificate", edge.keep_fresh(shutdown.clone()));
    Ok(source)
}

async fn read(files: &CertificateFiles) -> Result<PublicCert, Error> {
    PublicCert::from_files(&files.chain_file, &files.key_file)
        .await
        .map_err(|error| Error::File {
            path: format!("{} with {}", files.chain_file.display(), files.key_file.display()),
            reason: error.to_string(),
        })
}

/// Re-reads the files when one of them changes; a pair that does not fit (yet) leaves the old certificate in place.
async fn follow(
    files: CertificateFiles,
    mut seen: [Option<SystemTime>; 2],
    source: PublicCertSource,
    shutdown: Shutdown,
) {
    while shutdown.unless(tokio::time::sleep(LOOK)).await.is_some() {
        let now = stamp(&files).await;
        if now == seen {
            continue;
        }
        // One that does not fit is said once: whoever mends it changes it again.
        seen = now;
        match read(&files).await {
            Ok(certificate) => {
                source.set(certificate);
                tracing::info!("edge certificate re-read");
            }
            Err(error) => tracing::warn!(%error, "edge certificate not re-read"),
        }
    }
}

async fn stamp(files: &CertificateFiles) -> [Option<SystemTime>; 2] {
    let modified = async |path: &Path| tokio::fs::metadata(path).await.ok()?.modified().ok();
    [modified(&files.chain_file).await, modified(&files.key_file).await]
}
