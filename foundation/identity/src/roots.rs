//! Where the roots come from that Sentry and the peers are known by.
//!
//! One idea: a file is re-read when its content changes and is taken only whole; a broken one leaves the old roots in place.
//! Never takes roots from the network: Sentry's answer brings some, which nobody has vouched for.

use std::path::PathBuf;

use palladium_spiffe::TrustDomain;
use palladium_tls::{Bundle, TrustBundles};

use crate::IdentityError;

/// Source of the roots.
#[derive(Debug, Clone)]
pub enum Roots {
    /// PEM file with the roots of the process's own trust domain; it may appear only after Sentry's first start.
    File(PathBuf),
    /// Dapr's way (`DAPR_TRUST_ANCHORS`): PEM text whose roots vouch for every trust domain. Drop-in form only.
    Shared(String),
}

/// Loads roots into bundles, again and again.
pub(crate) struct Loader {
    source: Roots,
    domain: TrustDomain,
    bundles: TrustBundles,
    seen: Vec<u8>,
}

impl Loader {
    pub(crate) fn new(source: Roots, domain: TrustDomain, bundles: TrustBundles) -> Self {
        Self {
            source,
            domain,
            bundles,
            seen: Vec::new(),
        }
    }

    /// Reads the source; sets the bundle if it has changed since the last success.
    pub(crate) async fn load(&mut self) -> Result<(), IdentityError> {
        match &self.source {
            Roots::Shared(pem) if self.seen.is_empty() => {
                let origin = || "given as text".to_owned();
                let bundle = Bundle::from_pem(pem.as_bytes()).map_err(|error| IdentityError::Roots {
                    origin: origin(),
                    reason: error.to_string(),
                })?;
                self.bundles.set_shared(bundle);
                self.seen = pem.as_bytes().to_vec();
            }
            Roots::Shared(_) => {}
            Roots::File(path) => {
                let fail = |reason: String| IdentityError::Roots {
                    origin: path.display().to_string(),
                    reason,
                };
                let pem = tokio::fs::read(path).await.map_err(|error| fail(error.to_string()))?;
                if pem != self.seen {
                    let bundle = Bundle::from_pem(&pem).map_err(|error| fail(error.to_string()))?;
                    self.bundles.set(self.domain.clone(), bundle);
                    self.seen = pem;
                }
            }
        }
        Ok(())
    }
}
