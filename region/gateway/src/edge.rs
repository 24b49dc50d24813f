//! The certificate of the public listener: from the zone's edge authority, or from files that are re-read.
//!
//! One idea: both ways end in one source that the listener reads at each handshake, so that a renewal needs no restart.
//! Must never take the old certificate away before the new pair fits together, nor block a worker on disk.

use std::time::Duration;

use palladium_identity::{EdgeFiles, EdgeIdentity, EdgeSettings, Identity};
use palladium_spiffe::SpiffeId;
use palladium_tasks::{Shutdown, Tasks};
use palladium_tls::PublicCertSource;

use crate::config::Config;
use crate::error::Error;

const DEADLINE: Duration = Duration::from_secs(50);

/// The first certificate; a task in `tasks` keeps it fresh.
pub(crate) async fn certificate(
    config: &Config,
    identity: &Identity,
    tasks: &mut Tasks,
    shutdown: &Shutdown,
) -> Result<PublicCertSource, Error> {
    if let Some(files) = &config.certificate {
        let edge = EdgeFiles::open(&files.chain_file, &files.key_file).await;
        let edge = edge.map_err(|error| Error::File {
            path: format!("{} with {}", files.chain_file.display(), files.key_file.display()),
            reason: error.to_string(),
        })?;
        let source = edge.source().clone();
        tasks.spawn("edge-certificate-files", edge.keep_fresh(shutdown.clone()));
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
