//! Who is believed in the drop-in form: Dapr's validators `insecure` and `jwks`.
//!
//! One idea: a validator judges the token against the identity that is asked for. The texts are Dapr's, because
//! clients and tests look for them. Must never believe everybody (`insecure`) unless the configuration says so or names no
//! validator at all, as with Dapr.

use palladium_proto::sentry::{SignCertificateRequest, sign_certificate_request::TokenValidator};
use palladium_spiffe::{SpiffeId, TrustDomain};

use super::{configuration::Configuration, jwks::Jwks};
use crate::{Error, refusal::Refusal};

const MAX_APP_ID: usize = 64;

/// The enabled validators.
pub(super) struct Validators {
    insecure: bool,
    jwks: Option<Jwks>,
}

impl Validators {
    pub(super) fn new(configuration: &Configuration, own_id: SpiffeId) -> Result<Self, Error> {
        let mut validators = Self {
            insecure: configuration.token_validators.is_empty(),
            jwks: None,
        };
        for validator in &configuration.token_validators {
            match validator.name.as_str() {
                "jwks" => validators.jwks = Some(Jwks::new(&validator.options, own_id.clone())?),
                "insecure" => validators.insecure = true,
                other => {
                    return Err(Error::Config(format!(
                        "token validator {other:?} is not available; use jwks"
                    )));
                }
            }
        }
        if validators.insecure {
            tracing::warn!("the insecure validator is on: every caller gets the identity it asks for");
        }
        Ok(validators)
    }

    /// The identity that the caller may have.
    pub(super) async fn validate(&self, request: &SignCertificateRequest) -> Result<SpiffeId, Refusal> {
        match TokenValidator::try_from(request.token_validator) {
            Ok(TokenValidator::Unknown) if self.insecure && self.jwks.is_none() => requested(request),
            Ok(TokenValidator::Unknown) => Err(Refusal::malformed(
                "a validator name must be specified in this environment",
            )),
            Ok(TokenValidator::Insecure) if self.insecure => requested(request),
            Ok(TokenValidator::Jwks) => match &self.jwks {
                Some(jwks) => {
                    let id = requested(request)?;
                    jwks.validate(&request.token, &id).await?;
                    Ok(id)
                }
                None => Err(not_enabled()),
            },
            _ => Err(not_enabled()),
        }
    }
}

fn not_enabled() -> Refusal {
    Refusal::malformed("the requested validator is not enabled")
}

/// The identity that a request asks for, if it is one at all.
fn requested(request: &SignCertificateRequest) -> Result<SpiffeId, Refusal> {
    let invalid = |reason: String| Refusal::denied(format!("invalid request: {reason}"));
    if request.id.is_empty() {
        return Err(invalid("app ID is required".to_owned()));
    }
    if request.id.contains('.') {
        return Err(invalid("app ID must not contain a dot".to_owned()));
    }
    if request.id.len() > MAX_APP_ID {
        return Err(invalid("app ID must be 64 characters or less".to_owned()));
    }
    if request.certificate_signing_request.is_empty() {
        return Err(invalid("CSR is required".to_owned()));
    }
    if request.namespace.is_empty() {
        return Err(invalid("namespace is required".to_owned()));
    }
    let domain = if request.trust_domain.is_empty() {
        "public"
    } else {
        &request.trust_domain
    };
    let domain = TrustDomain::parse(domain).map_err(|error| invalid(error.to_string()))?;
    SpiffeId::workload(&domain, &request.namespace, &request.id).map_err(|error| invalid(error.to_string()))
}
