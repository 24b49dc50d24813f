//! TLS at the edge: certificates for names, of our own listeners and of services outside.
//!
//! One idea: a listener holds a [`PublicCertSource`], so certificates are replaced (by renewal, or because supplied files
//! changed) without a restart. Must never touch a [`crate::TrustBundles`]: edge roots and workload roots are
//! different things.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::sync::watch;

use crate::{TlsError, alpn_list, bundle, provider, svid};

/// A chain for DNS names and addresses with its key, checked to belong together.
#[derive(Debug, Clone)]
pub struct PublicCert(Arc<CertifiedKey>);

impl PublicCert {
    /// From a chain (leaf first) and its key.
    ///
    /// # Errors
    /// When either is malformed or they do not belong together.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, TlsError> {
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        svid::certified(chain, key).map(Self)
    }

    /// From the PEM text of chain and key.
    ///
    /// # Errors
    /// As [`PublicCert::new`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Malformed {
            what: "PEM private key",
        })?;
        Self::new(bundle::certificates(chain)?, key)
    }

    /// From two PEM files. Called again when they change; on an error the caller keeps the old certificate.
    ///
    /// # Errors
    /// When a file cannot be read, and as [`PublicCert::new`].
    pub async fn from_files(chain: &Path, key: &Path) -> std::io::Result<Self> {
        let chain = tokio::fs::read(chain).await?;
        let key = tokio::fs::read(key).await?;
        Self::from_pem(&chain, &key).map_err(std::io::Error::other)
    }
}

/// The newest certificate of a public listener. Cheap to clone; all clones are one source.
#[derive(Debug, Clone)]
pub struct PublicCertSource(Arc<watch::Sender<Option<PublicCert>>>);

impl Default for PublicCertSource {
    fn default() -> Self {
        Self::new()
    }
}

impl PublicCertSource {
    /// Without a certificate: until one is set, every handshake fails.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Replaces the certificate for all handshakes from now on.
    pub fn set(&self, cert: PublicCert) {
        self.0.send_replace(Some(cert));
    }

    /// The newest certificate.
    pub fn current(&self) -> Option<PublicCert> {
        self.0.borrow().clone()
    }
}

impl ResolvesServerCert for PublicCertSource {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current().map(|cert| cert.0)
    }
}

/// A public listener: TLS 1.2 and 1.3, no client certificate. Usually with [`crate::ALPN_HTTP`].
pub fn public_server_config(source: &PublicCertSource, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("invariant: the provider has suites for both versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(source.clone()));
    config.alpn_protocols = alpn_list(alpn);
    Arc::new(config)
}

/// Whom a client outside of the zone takes for who vouches for names.
#[derive(Debug, Clone, Copy)]
pub enum WebRoots<'a> {
    /// What the operating system trusts; read once, from its files.
    System,
    /// The roots of a PEM text and no others.
    Pem(&'a [u8]),
    /// Nobody: every handshake fails.
    Nobody,
}

/// A client that verifies the server's name against the roots of a PEM text.
///
/// # Errors
/// When the text holds no root or a malformed one.
pub fn pem_roots_client_config(roots_pem: &[u8], alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    web_client_config(WebRoots::Pem(roots_pem), None, alpn)
}

/// A client that verifies the server's name, and shows a certificate of its own if the server asks for one and `own` is
/// given. May read files: with [`WebRoots::System`] call it where that is allowed.
///
/// # Errors
/// When there is no root, or a malformed one.
pub fn web_client_config(
    roots: WebRoots<'_>,
    own: Option<&PublicCert>,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match roots {
        WebRoots::System => system_roots(),
        WebRoots::Pem(pem) => Arc::new(pem_roots(pem)?),
        WebRoots::Nobody => Arc::new(RootCertStore::empty()),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("invariant: the provider has suites for both versions")
        .with_root_certificates(roots);
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.0.clone()))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn_list(alpn);
    Ok(Arc::new(config))
}

fn pem_roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for cert in bundle::certificates(pem)? {
        roots.add(cert).map_err(|_| TlsError::Malformed {
            what: "root certificate",
        })?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    Ok(roots)
}

/// The operating system's roots; those that cannot be read are left out, as everywhere.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!("a root certificate of the operating system is left out: {error}");
        }
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::warn!("the operating system has no root certificates: services on the web cannot be verified");
        }
        Arc::new(roots)
    };
    ROOTS.get_or_init(load).clone()
}
