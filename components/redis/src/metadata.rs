//! Metadata of every component on Redis, under Dapr's names.
//!
//! One idea: every field of Dapr's that can hold a secret is declared, used or not, and what is asked for but not
//! available is refused by name. Must never drop a `sensitive` mark, or accept a setting that weakens the connection
//! and then ignore it.

use palladium_component::metadata::Millis;
use palladium_component::{ComponentMetadata, MetadataError};
use secrecy::SecretString;

/// What a component says. Secrets that this driver does not use are declared all the same, so that they are extracted.
#[derive(Debug, ComponentMetadata)]
pub struct RedisMetadata {
    /// Address of the server, 'host' or 'host:port'.
    pub redis_host: String,
    /// Port of the server, when redisHost has none; 6379 when absent.
    pub redis_port: Option<u16>,
    /// User name (Redis 6 and later, access control lists).
    pub redis_username: Option<String>,
    /// Password.
    #[metadata(sensitive)]
    pub redis_password: Option<SecretString>,
    /// Number of the database.
    #[metadata(name = "redisDB", default = "0")]
    pub database: u32,
    /// Kind of the service. Only 'node' is supported.
    #[metadata(default = "node", allowed = "node", allowed = "cluster")]
    pub redis_type: String,
    /// Whether to encrypt the connection, with the certificate checked against the system's roots.
    #[metadata(name = "enableTLS", default = "false")]
    pub enable_tls: bool,
    /// Whether to accept any certificate. Not supported: add the server's authority to the system's roots instead.
    #[metadata(name = "insecureSkipTLSVerify", default = "false")]
    pub insecure_skip_tls_verify: bool,
    /// Client certificate (PEM).
    #[metadata(sensitive)]
    pub client_cert: Option<SecretString>,
    /// Key of the client certificate (PEM).
    #[metadata(sensitive)]
    pub client_key: Option<SecretString>,
    /// How often a call that never reached the server is repeated; -1 = never.
    #[metadata(alias = "maxRetries", default = "3")]
    pub redis_max_retries: i32,
    /// Shortest pause between repetitions.
    #[metadata(default = "8ms")]
    pub redis_min_retry_interval: Millis,
    /// Longest pause between repetitions.
    #[metadata(alias = "maxRetryBackoff", default = "512ms")]
    pub redis_max_retry_interval: Millis,
    /// How long connecting may take.
    #[metadata(default = "5s")]
    pub dial_timeout: Millis,
    /// How long an answer may take; -1 = without limit.
    #[metadata(default = "3s")]
    pub read_timeout: Millis,
    /// Whether redisHost is a sentinel. Not supported.
    #[metadata(default = "false")]
    pub failover: bool,
    /// Name of the master that sentinels know. Not supported.
    pub sentinel_master_name: Option<String>,
    /// User name at the sentinels. Not supported.
    pub sentinel_username: Option<String>,
    /// Password at the sentinels. Not supported.
    #[metadata(sensitive)]
    pub sentinel_password: Option<SecretString>,
    /// Whether to sign in by Microsoft Entra ID. Not supported.
    #[metadata(name = "useEntraID", alias = "useAzureAD", default = "false")]
    pub use_entra_id: bool,
    /// Client secret for Microsoft Entra ID. Not supported.
    #[metadata(sensitive)]
    pub azure_client_secret: Option<SecretString>,
    /// Client certificate for Microsoft Entra ID. Not supported.
    #[metadata(sensitive)]
    pub azure_certificate: Option<SecretString>,
    /// Password of the certificate for Microsoft Entra ID. Not supported.
    #[metadata(sensitive)]
    pub azure_certificate_password: Option<SecretString>,
    /// Whether to sign in by OpenID Connect. Not supported.
    #[metadata(name = "useOIDC", default = "false")]
    pub use_oidc: bool,
    /// Key that signs the OpenID Connect client assertion. Not supported.
    #[metadata(sensitive)]
    pub oidc_client_assertion_key: Option<SecretString>,
}

impl RedisMetadata {
    /// Refuses what this driver cannot do, by name, instead of doing something else.
    pub fn check(&self) -> Result<(), MetadataError> {
        let unsupported = [
            (
                "redisType",
                self.redis_type.eq_ignore_ascii_case("cluster"),
                "Redis Cluster is not supported",
                "use a single node",
            ),
            (
                "failover",
                self.failover,
                "Redis Sentinel is not supported",
                "name the master itself as redisHost",
            ),
            (
                "redisHost",
                self.redis_host.contains(','),
                "several hosts are not supported",
                "name one host",
            ),
            (
                "insecureSkipTLSVerify",
                self.insecure_skip_tls_verify && self.enable_tls,
                "accepting any certificate is not supported",
                "add the server's certificate authority to the system's roots",
            ),
            (
                "useEntraID",
                self.use_entra_id,
                "signing in by Entra ID is not supported",
                "use redisUsername and redisPassword",
            ),
            (
                "useOIDC",
                self.use_oidc,
                "signing in by OpenID Connect is not supported",
                "use redisUsername and redisPassword",
            ),
            (
                "clientKey",
                self.client_cert.is_some() != self.client_key.is_some(),
                "clientCert and clientKey belong together",
                "give both or none",
            ),
        ];
        match unsupported.into_iter().find(|(_, found, _, _)| *found) {
            Some((field, _, reason, remedy)) => Err(MetadataError::new(field, reason, remedy)),
            None => Ok(()),
        }
    }

    /// Host and port of the server.
    pub fn address(&self) -> Result<(String, u16), MetadataError> {
        let host = self.redis_host.trim();
        let wrong = |reason: &str| MetadataError::new("redisHost", reason, "write 'host' or 'host:port'");
        if host.is_empty() || host.contains("://") || host.contains('@') {
            return Err(wrong("it is not an address"));
        }
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (name, port) = match bracketed {
            Some((name, rest)) => (name, rest.strip_prefix(':')),
            // More than one colon without brackets is a bare IPv6 address.
            None if host.matches(':').count() == 1 => host
                .split_once(':')
                .map_or((host, None), |(name, port)| (name, Some(port))),
            None => (host, None),
        };
        let port = port
            .map(|port| port.parse::<u16>().map_err(|_| wrong("its port is no number")))
            .transpose()?;
        match (port, self.redis_port) {
            (Some(own), Some(other)) if own != other => Err(MetadataError::new(
                "redisPort",
                "it contradicts the port in redisHost",
                "remove one of the two",
            )),
            (own, other) => Ok((name.to_string(), own.or(other).unwrap_or(6379))),
        }
    }
}
