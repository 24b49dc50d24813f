//! Decides whether a presented chain is a peer we talk to.
//!
//! One idea: one function, [`verify_svid`], is the whole judgement, used for clients and servers alike and by whoever
//! receives a certificate: leaf rules → roots of that trust domain → path → issuers → revocation. The
//! authorizer comes last, when the ID is proven.
//! Never falls back to another trust domain's roots.

use std::fmt;

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::{Authorizer, Leaf, TlsError, TrustBundles, leaf, provider};

/// A certificate may begin to be valid this many seconds after our own clock: Palladium's Sentry does not back-date
/// leaves, so that revocation is exact, and clocks of two machines differ a little.
const CLOCK_LEEWAY_SECONDS: i64 = 30;

/// The side that a peer takes in the handshake, which its extended key usage must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The peer is the client.
    Client,
    /// The peer is the server.
    Server,
}

/// Verifies a chain (leaf first) as an X.509-SVID and returns what its leaf says.
///
/// # Errors
/// The first reason to refuse it.
pub fn verify_svid(
    leaf_cert: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundles: &TrustBundles,
    now: UnixTime,
    side: Side,
) -> Result<Leaf, TlsError> {
    let leaf = Leaf::read_by(leaf_cert, bundles.rules())?;
    let domain = leaf.id.trust_domain();
    let bundle = bundles
        .get(domain)
        .ok_or_else(|| TlsError::UnknownTrustDomain(domain.clone()))?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let roots: Vec<_> = bundle.valid_roots(seconds).collect();
    if roots.is_empty() {
        return Err(TlsError::UnknownTrustDomain(domain.clone()));
    }
    verify_path(leaf_cert, intermediates, &roots, with_leeway(now, &leaf), side)?;
    if bundles.is_revoked(&leaf.id, leaf.not_before) {
        return Err(TlsError::Revoked(leaf.id));
    }
    Ok(leaf)
}

fn with_leeway(now: UnixTime, leaf: &Leaf) -> UnixTime {
    let ahead = u64::try_from(leaf.not_before).unwrap_or(0);
    if ahead > now.as_secs() && ahead - now.as_secs() <= CLOCK_LEEWAY_SECONDS.unsigned_abs() {
        return UnixTime::since_unix_epoch(std::time::Duration::from_secs(ahead));
    }
    now
}

/// Path validation by webpki, then the one rule that it leaves out.
pub(crate) fn verify_path(
    leaf_cert: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &[&CertificateDer<'_>],
    now: UnixTime,
    side: Side,
) -> Result<(), TlsError> {
    let chain = |error: webpki::Error| TlsError::Chain(error.to_string());
    let anchors: Vec<TrustAnchor<'_>> = roots
        .iter()
        .map(|root| webpki::anchor_from_trusted_cert(root))
        .collect::<Result<_, _>>()
        .map_err(chain)?;
    let end_entity = EndEntityCert::try_from(leaf_cert).map_err(chain)?;
    let usage = match side {
        Side::Client => KeyUsage::client_auth(),
        Side::Server => KeyUsage::server_auth(),
    };
    let path = end_entity
        .verify_for_usage(algorithms().all, &anchors, intermediates, now, usage, None, None)
        .map_err(chain)?;
    path.intermediate_certificates()
        .try_for_each(|cert| leaf::check_issuer(&cert.der()))
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

/// The verifier of a mutual-TLS configuration.
pub(crate) struct SpiffeVerifier {
    pub(crate) bundles: TrustBundles,
    pub(crate) authorizer: Authorizer,
    /// Whether a client must present a certificate. One that it does present is always verified.
    pub(crate) client_mandatory: bool,
}

impl SpiffeVerifier {
    fn judge(
        &self,
        leaf_cert: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        side: Side,
    ) -> Result<(), TlsError> {
        let leaf = verify_svid(leaf_cert, intermediates, &self.bundles, now, side)?;
        if (self.authorizer)(&leaf.id) {
            Ok(())
        } else {
            Err(TlsError::NotAuthorized(leaf.id))
        }
    }
}

impl fmt::Debug for SpiffeVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpiffeVerifier")
            .field("client_mandatory", &self.client_mandatory)
            .finish_non_exhaustive()
    }
}

/// Signature checks of a TLS 1.3-only verifier.
macro_rules! tls13_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::PeerIncompatible(
                PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(
                message,
                cert,
                dss,
                &crate::provider().signature_verification_algorithms,
            )
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            crate::provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}
pub(crate) use tls13_signatures;

impl ClientCertVerifier for SpiffeVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.client_mandatory
    }

    // No hints: a client has one SVID and need not learn which roots we trust.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity, intermediates, now, Side::Client)?;
        Ok(ClientCertVerified::assertion())
    }

    tls13_signatures!();
}

impl ServerCertVerifier for SpiffeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates, now, Side::Server)?;
        Ok(ServerCertVerified::assertion())
    }

    tls13_signatures!();
}
