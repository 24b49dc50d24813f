//! Metadata of `bindings.aws.s3`, under Dapr's names, and what a request changes of it.
//!
//! One idea: everything that becomes part of a host's name is checked letter by letter, since whoever judges addresses sees
//! the endpoint only. Must never take a key of the machine's, or a file, for a tenant.

use std::time::Duration;

use palladium_component::bindings::Metadata;
use palladium_component::metadata::{FieldType as _, parse_duration};
use palladium_component::{CallError, ComponentMetadata, Hosting, MetadataError, OpenError};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// Longest life of a signed address, by the service's own rule.
const LONGEST_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a component says.
#[derive(Debug, ComponentMetadata)]
pub(super) struct S3Metadata {
    /// Name of the bucket.
    pub(super) bucket: String,
    /// Region of the bucket.
    #[metadata(alias = "awsRegion")]
    pub(super) region: Option<String>,
    /// Address of a service other than AWS's own, such as 'https://s3.example.com'.
    pub(super) endpoint: Option<String>,
    /// Identifier of the access key.
    #[metadata(alias = "awsAccessKey", sensitive)]
    pub(super) access_key: Option<SecretString>,
    /// The secret that belongs to the access key.
    #[metadata(alias = "awsSecretKey", sensitive)]
    pub(super) secret_key: Option<SecretString>,
    /// Token that goes along with a temporary access key.
    #[metadata(alias = "awsSessionToken", sensitive)]
    pub(super) session_token: Option<SecretString>,
    /// Whether the bucket's name is a part of the path, and not of the host's name.
    #[metadata(default = "false")]
    pub(super) force_path_style: bool,
    /// Whether an endpoint without a scheme is called without TLS.
    #[metadata(name = "disableSSL", default = "false")]
    pub(super) disable_ssl: bool,
    /// Whether to accept any certificate. Not in a region.
    #[metadata(name = "insecureSSL", default = "false")]
    pub(super) insecure_ssl: bool,
    /// Whether data are Base64 that is decoded before it is stored.
    #[metadata(default = "false")]
    pub(super) decode_base64: bool,
    /// Whether data are told in Base64.
    #[metadata(default = "false")]
    pub(super) encode_base64: bool,
    /// File whose content is stored instead of a request's data. Not in a region.
    pub(super) file_path: Option<String>,
    /// How long signed addresses hold, such as '15m', at most '168h'.
    #[metadata(name = "presignTTL")]
    pub(super) presign_ttl: Option<String>,
    /// Class in which objects are stored, such as 'STANDARD_IA'.
    pub(super) storage_class: Option<String>,
    /// Role to take on. Not available: name the access key of one that may.
    pub(super) assume_role_arn: Option<String>,
    /// Trust anchor of IAM Roles Anywhere. Not available: name an access key.
    pub(super) trust_anchor_arn: Option<String>,
}

/// Who signs.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) key: SecretString,
    pub(super) secret: SecretString,
    pub(super) token: Option<SecretString>,
    pub(super) region: String,
}

/// What holds for one request.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) decode_base64: bool,
    pub(super) encode_base64: bool,
    pub(super) file_path: Option<String>,
    pub(super) presign_ttl: Option<Duration>,
    pub(super) storage_class: Option<String>,
}

fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|value| !value.is_empty())
}

impl S3Metadata {
    /// What the types alone cannot say.
    pub(super) fn check(&self, hosting: &Hosting) -> Result<(), OpenError> {
        for (field, value) in [
            ("assumeRoleArn", &self.assume_role_arn),
            ("trustAnchorArn", &self.trust_anchor_arn),
        ] {
            if given(value).is_some() {
                let remedy = "use 'accessKey' and 'secretKey'";
                return Err(MetadataError::new(field, "it is not available here", remedy).into());
            }
        }
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
        if !(3..=63).contains(&self.bucket.len()) || !self.bucket.chars().all(is_name) || self.bucket.contains("..") {
            let remedy = "use 3 to 63 small letters, digits, '-' and '.'";
            return Err(MetadataError::new("bucket", "it is no name of a bucket", remedy).into());
        }
        if let Some(ttl) = given(&self.presign_ttl) {
            life(ttl).map_err(|reason| MetadataError::new("presignTTL", reason, "use 1s to 168h"))?;
        }
        if let Hosting::Platform { .. } = hosting {
            if given(&self.file_path).is_some() {
                return Err(OpenError::NotAllowed(
                    "filePath would read a file of the machine".into(),
                ));
            }
            if self.insecure_ssl {
                return Err(OpenError::NotAllowed("insecureSSL would accept any certificate".into()));
            }
        }
        Ok(())
    }

    /// Who signs. In a process of one's own, what is not said is taken from AWS's variables.
    pub(super) fn signer(
        &self,
        hosting: &Hosting,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Signer, MetadataError> {
        let outside = |name: &str| match hosting {
            Hosting::SelfHosted => environment(name).filter(|value| !value.is_empty()),
            Hosting::Platform { .. } => None,
        };
        let secret = |said: &Option<SecretString>, name: &str| {
            let said = said.as_ref().filter(|said| !said.expose_secret().is_empty());
            said.cloned().or_else(|| outside(name).map(SecretString::from))
        };
        let missing = |field: &str| {
            MetadataError::new(
                field,
                "it is missing",
                format!("add '{field}' to the component's metadata"),
            )
        };
        let own_key = secret(&self.access_key, "AWS_ACCESS_KEY_ID").ok_or_else(|| missing("accessKey"))?;
        let region = given(&self.region).map(str::to_owned);
        let region = region
            .or_else(|| outside("AWS_REGION"))
            .or_else(|| outside("AWS_DEFAULT_REGION"));
        let region = region.ok_or_else(|| missing("region"))?;
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !region.chars().all(is_name) {
            return Err(MetadataError::new(
                "region",
                "it is no region",
                "use a name such as 'eu-central-1'",
            ));
        }
        Ok(Signer {
            key: own_key,
            secret: secret(&self.secret_key, "AWS_SECRET_ACCESS_KEY").ok_or_else(|| missing("secretKey"))?,
            // A token of the environment belongs to the key of the environment.
            token: match self.access_key.is_some() {
                true => self
                    .session_token
                    .clone()
                    .filter(|token| !token.expose_secret().is_empty()),
                false => secret(&self.session_token, "AWS_SESSION_TOKEN"),
            },
            region,
        })
    }

    /// The service's address.
    pub(super) fn endpoint(&self, region: &str) -> Result<Url, MetadataError> {
        let scheme = if self.disable_ssl { "http" } else { "https" };
        let text = match given(&self.endpoint) {
            Some(endpoint) if endpoint.contains("://") => endpoint.to_owned(),
            Some(endpoint) => format!("{scheme}://{endpoint}"),
            None => format!("{scheme}://s3.{region}.amazonaws.com"),
        };
        let url = Url::parse(&text).ok().filter(|url| {
            let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain && url.password().is_none()
        });
        url.ok_or_else(|| MetadataError::new("endpoint", "it is no address", "write 'https://host:port'"))
    }

    /// What the component says, and over it what a request says.
    pub(super) fn options(&self, request: &Metadata, hosting: &Hosting) -> Result<Options, CallError> {
        let said = |name: &str| request.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let truth = |name: &str, or: bool| said(name).map_or(or, |value| bool::parse(value).unwrap_or(false));
        let text = |name: &str, or: &Option<String>| said(name).or(given(or)).map(str::to_owned);
        let file_path = text("filePath", &self.file_path);
        if file_path.is_some() {
            allow_files(hosting)?;
        }
        let ttl = text("presignTTL", &self.presign_ttl);
        let presign_ttl =
            ttl.map(|ttl| life(&ttl).map_err(|reason| wrong(&format!("presignTTL cannot be used: {reason}"))));
        Ok(Options {
            decode_base64: truth("decodeBase64", self.decode_base64),
            encode_base64: truth("encodeBase64", self.encode_base64),
            file_path,
            presign_ttl: presign_ttl.transpose()?,
            storage_class: text("storageClass", &self.storage_class),
        })
    }
}

/// Refuses files of the machine to tenants.
pub(super) fn allow_files(hosting: &Hosting) -> Result<(), CallError> {
    match hosting {
        Hosting::SelfHosted => Ok(()),
        Hosting::Platform { .. } => Err(wrong("filePath is not allowed here: it is a file of the machine")),
    }
}

/// A request that cannot be carried out.
pub(super) fn wrong(reason: &str) -> CallError {
    CallError::Invalid(format!("s3 binding error: {reason}"))
}

fn life(text: &str) -> Result<Duration, String> {
    // Go's notation has no numbers without a unit.
    let life = parse_duration(text, Duration::ZERO)?;
    match (Duration::from_secs(1)..=LONGEST_LIFE).contains(&life) {
        true => Ok(life),
        false => Err("it is less than a second or more than a week".into()),
    }
}

#[cfg(test)]
mod tests;
