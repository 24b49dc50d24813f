//! A process's own identity: certificate chain and private key, replaced while connections go on.
//!
//! One idea: configurations hold the [`SvidSource`], never a certificate; each new handshake uses the newest one.
//! Never shows or writes the key.

use std::{fmt, sync::Arc};

use palladium_spiffe::SpiffeId;
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;

use crate::{Leaf, Rules, TlsError, TrustBundles, bundle, provider};

/// One X.509-SVID with its key, checked to belong together.
#[derive(Clone)]
pub struct Svid {
    leaf: Leaf,
    key: Arc<CertifiedKey>,
}

impl Svid {
    /// From a chain (leaf first) and its key.
    ///
    /// # Errors
    /// When the leaf breaks an SVID's rules or the key is another's. The chain itself is not verified here.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, TlsError> {
        Self::new_by(chain, key, Rules::Spiffe)
    }

    fn new_by(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        rules: Rules,
    ) -> Result<Self, TlsError> {
        let leaf = Leaf::read_by(chain.first().ok_or(TlsError::NoCertificate)?, rules)?;
        Ok(Self {
            leaf,
            key: certified(chain, key)?,
        })
    }

    /// From PEM text of the chain.
    ///
    /// # Errors
    /// As [`Svid::new`].
    pub fn from_pem(chain: &[u8], key: PrivateKeyDer<'static>) -> Result<Self, TlsError> {
        Self::from_pem_by(chain, key, Rules::Spiffe)
    }

    /// From PEM text of the chain, whose leaf is held to these rules.
    ///
    /// # Errors
    /// As [`Svid::new`].
    pub fn from_pem_by(chain: &[u8], key: PrivateKeyDer<'static>, rules: Rules) -> Result<Self, TlsError> {
        Self::new_by(bundle::certificates(chain)?, key, rules)
    }

    /// Whose identity it is.
    pub fn id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    /// The leaf's own statements.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid").field("leaf", &self.leaf).finish_non_exhaustive()
    }
}

/// Pairs a chain with its key.
pub(crate) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let key = provider()
        .key_provider
        .load_private_key(key)
        .map_err(|_| TlsError::Malformed { what: "private key" })?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| TlsError::KeyMismatch)?;
    Ok(Arc::new(certified))
}

/// The newest SVID of this process. Cheap to clone; all clones are one source.
#[derive(Debug, Clone)]
pub struct SvidSource(Arc<watch::Sender<Option<Arc<Svid>>>>);

impl Default for SvidSource {
    fn default() -> Self {
        Self::new()
    }
}

impl SvidSource {
    /// Without an SVID: until one is set, every handshake fails.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// A source that already has one.
    pub fn with(svid: Svid) -> Self {
        let source = Self::new();
        source.set(svid);
        source
    }

    /// Replaces the SVID for all handshakes from now on.
    pub fn set(&self, svid: Svid) {
        self.0.send_replace(Some(Arc::new(svid)));
    }

    /// The newest SVID.
    pub fn current(&self) -> Option<Arc<Svid>> {
        self.0.borrow().clone()
    }

    /// For waiting on the next one.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Svid>>> {
        self.0.subscribe()
    }

    fn key(&self) -> Option<Arc<CertifiedKey>> {
        self.current().map(|svid| svid.key.clone())
    }
}

impl ResolvesServerCert for SvidSource {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key()
    }
}

impl ResolvesClientCert for SvidSource {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.key()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Presents the roots behind the chain, for clients that know only a root's hash.
#[derive(Debug)]
pub(crate) struct WithRoots {
    pub(crate) source: SvidSource,
    pub(crate) bundles: TrustBundles,
}

impl ResolvesServerCert for WithRoots {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let svid = self.source.current()?;
        let mut key = CertifiedKey::clone(&svid.key);
        if let Some(bundle) = self.bundles.get(svid.id().trust_domain()) {
            key.cert.extend(bundle.roots().cloned());
        }
        Some(Arc::new(key))
    }
}
