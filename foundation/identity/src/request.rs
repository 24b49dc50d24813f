//! One `CA/SignCertificate` call: a fresh key, a request, a checked answer.
//!
//! One idea: every call makes its own key, so a key lives exactly as long as its certificate: P-256 on the platform,
//! Ed25519 as Dapr's own processes have it.
//! The token is in the message and nowhere else. Never retries: a single-use token would be burnt.

use std::time::Duration;

use palladium_proto::sentry::{
    SignCertificateRequest, SignCertificateResponse, ca_client::CaClient, sign_certificate_request::TokenValidator,
};
use palladium_spiffe::SpiffeId;
use palladium_tls::Connector;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519, SanType};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::time::timeout;
use tonic::Code;
use zeroize::Zeroizing;

use crate::IdentityError;

/// Connecting and the call itself, each.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// A certificate request with the key that stays here.
pub struct NewKey {
    csr_pem: String,
    key: Zeroizing<Vec<u8>>,
}

impl NewKey {
    /// A new P-256 key; `names` only where Sentry does not take the name from the attestation.
    pub(crate) fn generate(names: Vec<SanType>) -> Result<Self, IdentityError> {
        Self::with(KeyPair::generate(), names)
    }

    /// A new Ed25519 key, for Dapr's Sentry.
    pub(crate) fn for_dapr() -> Result<Self, IdentityError> {
        Self::with(KeyPair::generate_for(&PKCS_ED25519), Vec::new())
    }

    fn with(pair: Result<KeyPair, rcgen::Error>, names: Vec<SanType>) -> Result<Self, IdentityError> {
        let pair = pair.map_err(|_| IdentityError::Key)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names;
        let csr = params.serialize_request(&pair).map_err(|_| IdentityError::Key)?;
        let csr_pem = csr.pem().map_err(|_| IdentityError::Key)?;
        Ok(Self {
            csr_pem,
            key: Zeroizing::new(pair.serialize_der()),
        })
    }

    /// A new P-256 key with a request that names nobody: the certificate's name comes from the proof beside it.
    ///
    /// # Errors
    /// [`IdentityError::Key`] when no key can be made.
    pub fn nameless() -> Result<Self, IdentityError> {
        Self::generate(Vec::new())
    }

    /// The request, PEM.
    pub fn csr_pem(&self) -> &str {
        &self.csr_pem
    }

    /// The key in the form in which TLS wants it.
    pub fn into_private_key(self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.to_vec()))
    }
}

/// Whom to ask, how, and for whom.
pub(crate) struct Ask<'a> {
    pub(crate) connector: Connector,
    pub(crate) address: &'a str,
    pub(crate) id: &'a SpiffeId,
    pub(crate) validator: TokenValidator,
    /// Empty: the SVID of the connection is the proof.
    pub(crate) token: &'a str,
}

impl Ask<'_> {
    /// Sends the request.
    pub(crate) async fn send(self, key: &NewKey) -> Result<SignCertificateResponse, IdentityError> {
        let (namespace, name) = self
            .id
            .namespace_and_name()
            .ok_or_else(|| IdentityError::Settings(format!("{} is not of the form /ns/<namespace>/<name>", self.id)))?;
        let unreachable = |reason: String| IdentityError::Unreachable {
            address: self.address.to_owned(),
            reason,
        };
        let channel = palladium_tls::channel(self.connector, self.address)
            .map_err(|error| IdentityError::Settings(error.to_string()))?;
        let request = SignCertificateRequest {
            id: name.to_owned(),
            namespace: namespace.to_owned(),
            trust_domain: self.id.trust_domain().to_string(),
            token: self.token.to_owned(),
            token_validator: self.validator.into(),
            certificate_signing_request: key.csr_pem.clone().into(),
            jwt_audiences: Vec::new(),
        };
        match timeout(2 * DEADLINE, CaClient::new(channel).sign_certificate(request)).await {
            Err(_) => Err(unreachable("deadline passed".to_owned())),
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(match status.code() {
                Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument | Code::Unimplemented => {
                    IdentityError::Refused {
                        id: self.id.clone(),
                        reason: status.message().to_owned(),
                    }
                }
                _ => unreachable(describe(&status)),
            }),
        }
    }
}

/// The innermost reason: tonic's own message says only "transport error".
fn describe(status: &tonic::Status) -> String {
    let mut reason = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(inner) = source {
        reason = inner.to_string();
        source = inner.source();
    }
    reason
}
