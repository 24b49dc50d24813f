//! Metadata of `bindings.http`, under Dapr's names.
//!
//! One idea: certificates and keys are PEM texts; in a process of one's own a path does as well. Must never accept a setting
//! that weakens the connection and then ignore it.

use std::time::Duration;

use palladium_component::metadata::FieldType;
use palladium_component::{ComponentMetadata, Hosting, MetadataError, OpenError};
use palladium_components_web::client_builder;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity};
use secrecy::{ExposeSecret as _, SecretString};

/// As many as Go's client follows.
const MOST_REDIRECTS: usize = 10;

/// A size in bytes: a number, or one with `Ki`, `Mi` or `Gi`. Nothing or less = without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteSize(pub(super) Option<usize>);

impl FieldType for ByteSize {
    const KIND: &'static str = "string";
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let factor: i64 = match unit {
            "" | "B" => 1,
            "k" | "K" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "Ki" | "KiB" => 1 << 10,
            "Mi" | "MiB" => 1 << 20,
            "Gi" | "GiB" => 1 << 30,
            _ => return Err("a size such as '4Mi' is expected".into()),
        };
        let count: i64 = number.trim().parse().map_err(|_| "a size such as '4Mi' is expected")?;
        Ok(Self(
            usize::try_from(count.saturating_mul(factor))
                .ok()
                .filter(|size| *size > 0),
        ))
    }
}

/// What a component says.
#[derive(Debug, ComponentMetadata)]
#[allow(dead_code)]
pub(super) struct HttpMetadata {
    /// Base address of all requests.
    pub(super) url: String,
    /// Whether an answer other than 2xx is an error.
    #[metadata(name = "errorIfNot2XX", default = "true")]
    pub(super) error_if_not_2xx: bool,
    /// How long an answer may take; 60 s when absent.
    pub(super) response_timeout: Option<Duration>,
    /// Longest answer in bytes that is read, or with a unit such as '4Mi'.
    #[metadata(default = "100Mi")]
    pub(super) max_response_body_size: ByteSize,
    /// Header that carries the token.
    pub(super) security_token_header: Option<String>,
    /// Token that goes along with every request.
    #[metadata(sensitive)]
    pub(super) security_token: Option<SecretString>,
    /// Certificate (PEM) of the authority that the service's certificate must be under, beside the system's.
    #[metadata(name = "MTLSRootCA")]
    pub(super) root_ca: Option<String>,
    /// Client certificate (PEM).
    #[metadata(name = "MTLSClientCert", sensitive)]
    pub(super) client_cert: Option<SecretString>,
    /// Key of the client certificate (PEM).
    #[metadata(name = "MTLSClientKey", sensitive)]
    pub(super) client_key: Option<SecretString>,
    /// When the service may ask for another handshake. TLS 1.3 has none: only 'RenegotiateNever' is supported.
    #[metadata(name = "MTLSRenegotiation", allowed = "RenegotiateNever")]
    pub(super) renegotiation: Option<String>,
}

impl HttpMetadata {
    /// The client of one component.
    pub(super) async fn client(&self, hosting: &Hosting) -> Result<Client, OpenError> {
        let mut builder = client_builder(hosting.is_platform()).redirect(redirects(hosting));
        if let Some(root) = self.root_ca.as_deref().filter(|root| !root.is_empty()) {
            let pem = pem("MTLSRootCA", root, hosting).await?;
            for root in Certificate::from_pem_bundle(&pem).map_err(|_| wrong("MTLSRootCA"))? {
                builder = builder.add_root_certificate(root);
            }
        }
        let text = |secret: &Option<SecretString>| {
            let text = secret.as_ref().map(|secret| secret.expose_secret().to_owned());
            text.filter(|text| !text.is_empty())
        };
        match (text(&self.client_cert), text(&self.client_key)) {
            (Some(cert), Some(key)) => {
                let mut both = pem("MTLSClientCert", &cert, hosting).await?;
                both.push(b'\n');
                both.extend(pem("MTLSClientKey", &key, hosting).await?);
                builder = builder.identity(Identity::from_pem(&both).map_err(|_| wrong("MTLSClientKey"))?);
            }
            (None, None) => {}
            _ => {
                let reason = "MTLSClientCert and MTLSClientKey belong together";
                return Err(MetadataError::new("MTLSClientKey", reason, "give both or none").into());
            }
        }
        // The library's words about a bad certificate may quote it.
        builder.build().map_err(|_| wrong("MTLSClientCert").into())
    }
}

/// As far as the address whose host the region's owner allowed; another one was not looked at, and would be shown the token. In a
/// process of one's own as far as Dapr goes.
fn redirects(hosting: &Hosting) -> Policy {
    if !hosting.is_platform() {
        return Policy::limited(MOST_REDIRECTS);
    }
    Policy::custom(|attempt| {
        let asked = attempt.previous();
        if asked
            .first()
            .is_none_or(|first| first.origin() != attempt.url().origin())
        {
            attempt.stop()
        } else if asked.len() > MOST_REDIRECTS {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    })
}

fn wrong(field: &str) -> MetadataError {
    MetadataError::new(field, "it cannot be used", "give a PEM text")
}

/// The text, or that of the file which it names in a process of one's own.
async fn pem(field: &str, value: &str, hosting: &Hosting) -> Result<Vec<u8>, OpenError> {
    if value.contains("-----BEGIN") {
        return Ok(value.as_bytes().to_vec());
    }
    if hosting.is_platform() {
        return Err(OpenError::NotAllowed(format!("{field} must be a PEM text, not a path")));
    }
    tokio::fs::read(value).await.map_err(|_| wrong(field).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_units() {
        for (text, expected) in [
            ("100", Some(100)),
            ("4Mi", Some(4 << 20)),
            ("1k", Some(1000)),
            ("0", None),
            ("-1", None),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(expected)), "{text}");
        }
        assert!(ByteSize::parse("4Xi").is_err() && ByteSize::parse("").is_err());
    }

    #[tokio::test]
    async fn a_tenant_names_no_file() {
        let hosting = Hosting::Platform { folder: "/tmp".into() };
        assert!(matches!(
            pem("MTLSRootCA", "/etc/passwd", &hosting).await,
            Err(OpenError::NotAllowed(_))
        ));
    }
}
