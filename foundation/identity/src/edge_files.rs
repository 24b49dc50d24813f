//! The certificate of a public listener, from two files that somebody else renews.
//!
//! One idea: what [`crate::EdgeIdentity`] is for the zone's edge authority, for files: a source that the listener reads at
//! each handshake, and a task that keeps it fresh. Must never take the old certificate away before the new pair fits
//! together, nor block a worker on disk.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use palladium_tasks::Shutdown;
use palladium_tls::{PublicCert, PublicCertSource};

const LOOK: Duration = Duration::from_secs(2);

/// A pair of PEM files, kept fresh.
pub struct EdgeFiles {
    chain: PathBuf,
    key: PathBuf,
    /// When the files had changed, asked before they were read.
    seen: [Option<SystemTime>; 2],
    source: PublicCertSource,
}

impl EdgeFiles {
    /// Reads both.
    ///
    /// # Errors
    /// When one cannot be read, or they do not belong together.
    pub async fn open(chain: &Path, key: &Path) -> io::Result<Self> {
        let seen = modified(chain, key).await;
        let source = PublicCertSource::new();
        source.set(PublicCert::from_files(chain, key).await?);
        Ok(Self {
            chain: chain.to_owned(),
            key: key.to_owned(),
            seen,
            source,
        })
    }

    /// The newest certificate, for the listener's configuration.
    pub fn source(&self) -> &PublicCertSource {
        &self.source
    }

    /// Re-reads the files when one of them changes, until `shutdown`; a pair that does not fit (yet) leaves the old
    /// certificate in place.
    pub async fn keep_fresh(mut self, shutdown: Shutdown) {
        while shutdown.unless(tokio::time::sleep(LOOK)).await.is_some() {
            let now = modified(&self.chain, &self.key).await;
            if now == self.seen {
                continue;
            }
            // One that does not fit is said once: whoever mends it changes it again.
            self.seen = now;
            match PublicCert::from_files(&self.chain, &self.key).await {
                Ok(certificate) => {
                    self.source.set(certificate);
                    tracing::info!("edge certificate re-read");
                }
                Err(error) => {
                    let (chain, key) = (self.chain.display(), self.key.display());
                    tracing::warn!(%chain, %key, %error, "edge certificate not re-read");
                }
            }
        }
    }
}

async fn modified(chain: &Path, key: &Path) -> [Option<SystemTime>; 2] {
    let at = async |path: &Path| tokio::fs::metadata(path).await.ok()?.modified().ok();
    [at(chain).await, at(key).await]
}
