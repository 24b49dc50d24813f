//! What Dapr's Configuration resource says to Sentry: `spec.mtls`.
//!
//! One idea: the file is Dapr's, full of things for others, so unknown fields are fine here; what concerns us must be
//! right. A file that does not exist means the defaults, as with Dapr. Must never fall back to a default for a value
//! that is there and wrong.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use time::Duration;

use super::duration;
use crate::Error;

/// The part that concerns Sentry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) workload_cert_ttl: Duration,
    pub(super) allowed_clock_skew: Duration,
    pub(super) token_validators: Vec<TokenValidator>,
}

/// One of `spec.mtls.tokenValidators`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct TokenValidator {
    pub(super) name: String,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Resource {
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    mtls: Mtls,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Mtls {
    #[serde(rename = "workloadCertTTL")]
    workload_cert_ttl: Option<String>,
    allowed_clock_skew: Option<String>,
    token_validators: Vec<TokenValidator>,
}

impl Configuration {
    /// Reads the file.
    pub(super) async fn load(path: &Path) -> Result<Self, Error> {
        match tokio::fs::read_to_string(path).await {
            Ok(text) => Self::parse(&text).map_err(|error| Error::Config(format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), "no Configuration file; using the defaults");
                Self::parse("").map_err(Error::Config)
            }
            Err(source) => Err(Error::File {
                path: path.to_owned(),
                source,
            }),
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let resource: Resource = if text.trim().is_empty() {
            Resource::default()
        } else {
            serde_saphyr::from_str(text).map_err(|error| error.to_string())?
        };
        let mtls = resource.spec.mtls;
        let given = |text: &Option<String>, default| match text.as_deref() {
            None | Some("") => Ok(default),
            Some(text) => duration::parse(text),
        };
        Ok(Self {
            workload_cert_ttl: given(&mtls.workload_cert_ttl, Duration::hours(24))?,
            allowed_clock_skew: given(&mtls.allowed_clock_skew, Duration::minutes(15))?,
            token_validators: mtls.token_validators,
        })
    }
}
