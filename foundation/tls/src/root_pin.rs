//! A client that knows its server only by the SHA-256 of a root: a region that joins.
//!
//! One idea: the server presents its root behind the chain; the root whose hash matches becomes the only anchor, and all
//! other SPIFFE rules hold as usual. Never trusts a root by anything but its hash.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::verify_tls13_signature,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    Authorizer, Bundle, Leaf, TlsError, TrustBundles, mtls, provider,
    verify::{Side, tls13_signatures, verify_svid},
};

/// A client without a certificate, for a server whose root has this SHA-256 (of the DER) and whose ID is `expected`.
pub fn root_pin_client_config(root_sha256: [u8; 32], expected: Authorizer, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("invariant: the provider has TLS 1.3 suites and groups")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(RootPin { root_sha256, expected }))
        .with_no_client_auth();
    mtls::finish_client(&mut config, alpn);
    Arc::new(config)
}

fn find<'a, 'b>(certs: &'a [CertificateDer<'b>], root_sha256: &[u8; 32]) -> Option<&'a CertificateDer<'b>> {
    certs
        .iter()
        .find(|cert| bool::from(Sha256::digest(cert).as_slice().ct_eq(root_sha256)))
}

struct RootPin {
    root_sha256: [u8; 32],
    expected: Authorizer,
}

impl fmt::Debug for RootPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootPin")
    }
}

impl RootPin {
    fn judge(
        &self,
        leaf_cert: &CertificateDer<'_>,
        presented: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let root = find(presented, &self.root_sha256).ok_or(TlsError::PinnedRootMissing)?;
        let domain = Leaf::read(leaf_cert)?.id.trust_domain().clone();
        let bundles = TrustBundles::new();
        bundles.set(domain, Bundle::from_der([root.clone().into_owned()])?);
        let leaf = verify_svid(leaf_cert, presented, &bundles, now, Side::Server)?;
        if (self.expected)(&leaf.id) {
            Ok(())
        } else {
            Err(TlsError::NotAuthorized(leaf.id))
        }
    }
}

impl ServerCertVerifier for RootPin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    tls13_signatures!();
}
