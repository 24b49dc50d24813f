//! Why a certificate, a key or a peer is refused.
//!
//! Never carries key material. SPIFFE IDs appear only once they are proven or are our own.

use palladium_spiffe::{ParseError, SpiffeId, TrustDomain};

/// What is wrong with a certificate, a key, a bundle or a peer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// Text or bytes that are not what they should be.
    #[error("not a valid {what}")]
    Malformed {
        /// What was expected, such as "certificate" or "private key".
        what: &'static str,
    },
    /// A chain or PEM file without a certificate.
    #[error("no certificate found")]
    NoCertificate,
    /// The private key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// A leaf must hold exactly one URI SAN.
    #[error("the certificate has {0} URI names; an X.509-SVID has exactly one")]
    UriCount(usize),
    /// The URI SAN is no SPIFFE ID.
    #[error("the certificate's URI name is not a SPIFFE ID: {0}")]
    Id(#[from] ParseError),
    /// The ID of a signing authority is not the ID of a workload.
    #[error("the certificate's SPIFFE ID has no path")]
    RootPath,
    /// `cA=true`.
    #[error("a signing certificate was presented as a workload's")]
    CaAsLeaf,
    /// `keyCertSign` or `cRLSign` set, or `digitalSignature` missing.
    #[error("the certificate's key usage is not that of a workload")]
    KeyUsage,
    /// A certificate in the chain may not sign certificates.
    #[error("a certificate in the chain may not sign certificates")]
    IssuerKeyUsage,
    /// A root is no CA certificate.
    #[error("a root in the bundle is not a CA certificate")]
    NotCa,
    /// No bundle for the peer's trust domain, or an empty one.
    #[error("no roots are trusted for the trust domain {0}")]
    UnknownTrustDomain(TrustDomain),
    /// The chain does not hold.
    #[error("the certificate chain is not valid: {0}")]
    Chain(String),
    /// Issued before the instant at which its ID was revoked.
    #[error("the certificate of {0} is revoked")]
    Revoked(SpiffeId),
    /// Proven, but not allowed here.
    #[error("{0} is not authorized on this connection")]
    NotAuthorized(SpiffeId),
    /// None of the presented certificates is the pinned root.
    #[error("the server did not present the root with the expected hash")]
    PinnedRootMissing,
}

impl From<TlsError> for rustls::Error {
    fn from(error: TlsError) -> Self {
        use rustls::{CertificateError, OtherError};
        let mapped = match &error {
            TlsError::Revoked(_) => CertificateError::Revoked,
            TlsError::UnknownTrustDomain(_) | TlsError::PinnedRootMissing => CertificateError::UnknownIssuer,
            _ => CertificateError::Other(OtherError(std::sync::Arc::new(error))),
        };
        Self::InvalidCertificate(mapped)
    }
}
