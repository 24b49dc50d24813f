//! A region's certificate: its signing request goes to the control zone's own Sentry, with an attestation limited to
//! `/ns/region/*`.
//!
//! One idea: this process vouches, Sentry issues; the region's key never comes here. Must never attest another subject.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use palladium_identity::Attestor;
use palladium_proto::sentry::sign_certificate_request::TokenValidator;
use palladium_proto::sentry::{SignCertificateRequest, SignCertificateResponse, ca_client::CaClient};
use palladium_sealing::ExposeSecret as _;
use palladium_spiffe::{SpiffeId, TrustDomain, platform};
use palladium_tls::{ALPN_H2, Connector, TrustBundles, exactly, svid_client_without_certificate};
use tonic::Status;

const CONNECT: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(10);

/// The way to certificates for regions.
pub(crate) struct Issuer {
    pub(crate) attestor: Attestor,
    pub(crate) sentry_address: SocketAddr,
    pub(crate) sentry_id: SpiffeId,
    pub(crate) bundles: TrustBundles,
    pub(crate) domain: TrustDomain,
}

impl Issuer {
    /// Has `csr_pem` certified for the region. Errors are fit for a region to see.
    pub(crate) async fn certify(&self, region_id: &str, csr_pem: Bytes) -> Result<SignCertificateResponse, Status> {
        let unavailable = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, region_id, "no certificate for a region");
            Status::unavailable("the control plane's certificate authority does not answer; try again")
        };
        let subject = platform::region(&self.domain, region_id).map_err(|_| Status::invalid_argument("region id"))?;
        let token = self.attestor.attest(&subject).map_err(|error| unavailable(&error))?;
        let tls = svid_client_without_certificate(&self.bundles, exactly(&self.sentry_id), ALPN_H2);
        let connector = Connector::mtls(tls, self.bundles.clone(), CONNECT);
        let channel =
            palladium_tls::channel(connector, &self.sentry_address.to_string()).map_err(|error| unavailable(&error))?;
        let request = SignCertificateRequest {
            id: region_id.to_owned(),
            namespace: platform::REGION_NAMESPACE.to_owned(),
            trust_domain: self.domain.to_string(),
            token: token.expose_secret().to_owned(),
            token_validator: TokenValidator::Jwks.into(),
            certificate_signing_request: csr_pem,
            jwt_audiences: Vec::new(),
        };
        match tokio::time::timeout(DEADLINE, CaClient::new(channel).sign_certificate(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) if status.code() == tonic::Code::InvalidArgument => {
                Err(Status::invalid_argument("the signing request cannot be used"))
            }
            Ok(Err(status)) => Err(unavailable(&status)),
            Err(elapsed) => Err(unavailable(&elapsed)),
        }
    }
}
