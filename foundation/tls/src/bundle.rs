//! What a process trusts: the roots of each trust domain, less what is revoked.
//!
//! One idea: the bundle is chosen by the trust domain in the peer's certificate; there is no "all roots". The one
//! exception, [`TrustBundles::shared`], is Dapr's own model (any trust domain under the same anchors) and belongs to
//! the drop-in forms only. Configurations built from a `TrustBundles` see every later change. Must never answer for one
//! trust domain with the roots of another, nor take a bundle in part.

use std::{collections::HashMap, sync::Arc};

use palladium_spiffe::{SpiffeId, TrustDomain};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::sync::watch;

use crate::{Rules, TlsError, leaf};

/// The roots of one trust domain. An empty bundle means that nobody of that domain is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    roots: Vec<(CertificateDer<'static>, i64)>,
}

impl Bundle {
    /// From DER certificates; each must be a CA certificate. Doubles are kept once.
    ///
    /// # Errors
    /// When one is malformed or no CA: a bundle is taken whole or not at all.
    pub fn from_der(certs: impl IntoIterator<Item = CertificateDer<'static>>) -> Result<Self, TlsError> {
        let mut roots: Vec<(CertificateDer<'static>, i64)> = Vec::new();
        for cert in certs {
            let not_after = leaf::root_not_after(&cert)?;
            if roots.iter().all(|(known, _)| *known != cert) {
                roots.push((cert, not_after));
            }
        }
        Ok(Self { roots })
    }

    /// From the text of a PEM file with one root or more.
    ///
    /// # Errors
    /// When it holds none, or one that is no CA certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let bundle = Self::from_der(certificates(pem)?)?;
        if bundle.roots.is_empty() {
            Err(TlsError::NoCertificate)
        } else {
            Ok(bundle)
        }
    }

    /// The roots, whether expired or not.
    pub fn roots(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.roots.iter().map(|(root, _)| root)
    }

    /// The roots that are still valid at `now` (Unix seconds); webpki itself never looks at a root's dates.
    pub(crate) fn valid_roots(&self, now: i64) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.roots
            .iter()
            .filter(move |(_, not_after)| now <= *not_after)
            .map(|(root, _)| root)
    }
}

/// All certificates of a PEM text, in order; none is not an error here.
///
/// # Errors
/// When a block is malformed.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Malformed {
            what: "PEM certificate",
        })
}

#[derive(Debug, Default)]
struct State {
    domains: HashMap<TrustDomain, Arc<Bundle>>,
    shared: Option<Arc<Bundle>>,
    revoked_before: HashMap<SpiffeId, i64>,
}

/// The trusted roots by trust domain, and the revocations. Cheap to clone; all clones are one set.
#[derive(Debug, Clone)]
pub struct TrustBundles(Arc<watch::Sender<State>>);

impl Default for TrustBundles {
    fn default() -> Self {
        Self::new()
    }
}

impl TrustBundles {
    /// Trusts nobody.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }

    /// Dapr's model: these roots vouch for every trust domain. Drop-in forms only.
    pub fn shared(bundle: Bundle) -> Self {
        let all = Self::new();
        all.set_shared(bundle);
        all
    }

    /// Replaces the roots that vouch for every trust domain. Drop-in forms only.
    pub fn set_shared(&self, bundle: Bundle) {
        self.0.send_modify(|state| state.shared = Some(Arc::new(bundle)));
    }

    /// Whose rules a peer's leaf is held to.
    pub fn rules(&self) -> Rules {
        match self.0.borrow().shared {
            Some(_) => Rules::Dapr,
            None => Rules::Spiffe,
        }
    }

    /// Replaces the roots of one trust domain.
    pub fn set(&self, domain: TrustDomain, bundle: Bundle) {
        self.0.send_modify(|state| {
            state.domains.insert(domain, Arc::new(bundle));
        });
    }

    /// The roots of one trust domain.
    pub fn get(&self, domain: &TrustDomain) -> Option<Arc<Bundle>> {
        let state = self.0.borrow();
        state.shared.as_ref().or_else(|| state.domains.get(domain)).cloned()
    }

    /// Replaces the table of revocations: SVIDs of an ID whose validity begins before the instant (Unix seconds) are
    /// refused from now on, and their live connections are closed.
    pub fn set_revocations(&self, revoked_before: HashMap<SpiffeId, i64>) {
        self.0.send_if_modified(|state| {
            let changed = state.revoked_before != revoked_before;
            state.revoked_before = revoked_before;
            changed
        });
    }

    /// Whether an SVID of `id` that begins to be valid at `not_before` is revoked.
    pub fn is_revoked(&self, id: &SpiffeId, not_before: i64) -> bool {
        self.0
            .borrow()
            .revoked_before
            .get(id)
            .is_some_and(|before| not_before < *before)
    }

    /// Returns when roots or revocations change, each time from the last call on.
    pub fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    /// Returns once an SVID is revoked, or its trust domain is no longer trusted at all.
    pub async fn until_refused(self, id: SpiffeId, not_before: i64) {
        let mut changes = self.changes();
        while !self.is_revoked(&id, not_before) && self.get(id.trust_domain()).is_some() {
            changes.next().await;
        }
    }
}

/// Tells of changes to a [`TrustBundles`].
#[derive(Debug)]
pub struct Changes(watch::Receiver<State>);

impl Changes {
    /// Returns at the next change; never, once every `TrustBundles` of the set is gone.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
