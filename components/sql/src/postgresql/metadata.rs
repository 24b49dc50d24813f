//! Metadata of every component on PostgreSQL, under Dapr's names.
//!
//! One idea: names, aliases and defaults are Dapr's, what is asked for and not available is refused by name. Must never
//! unmark the connection string as secret.

use std::time::Duration;

use palladium_component::{ComponentMetadata, MetadataError};
use secrecy::SecretString;

/// What a component says.
#[derive(Debug, ComponentMetadata)]
pub struct PostgresMetadata {
    /// How to connect, as 'host=… user=… password=…' or as a 'postgres://' URL. Treated as a secret.
    #[metadata(alias = "url", sensitive)]
    pub connection_string: Option<SecretString>,
    /// Host of the server; overrides the connection string.
    pub host: Option<String>,
    /// Address of the server; overrides host.
    #[metadata(name = "hostaddr")]
    pub host_addr: Option<String>,
    /// Port of the server; overrides the connection string.
    pub port: Option<String>,
    /// Name of the database; overrides the connection string.
    pub database: Option<String>,
    /// User; overrides the connection string.
    pub user: Option<String>,
    /// Password; overrides the connection string.
    #[metadata(sensitive)]
    pub password: Option<SecretString>,
    /// Certificate of the authority that the server is checked against: the path of a PEM file, or its content.
    pub ssl_root_cert: Option<String>,
    /// How long one request may take.
    #[metadata(alias = "timeoutInSeconds", default = "20s")]
    pub timeout: Duration,
    /// Most connections at a time; the number of cores and at least 4 when 1 or less.
    #[metadata(default = "0")]
    pub max_conns: i32,
    /// How long a connection may idle before it is closed.
    #[metadata(alias = "connMaxIdleTime")]
    pub connection_max_idle_time: Option<Duration>,
    /// How statements are run; with 'exec', 'simple_protocol' and 'describe_exec' none is kept prepared on a connection.
    #[metadata(default = "")]
    pub query_exec_mode: String,
    /// Whether to authenticate with Azure AD. Not available: only "false" is accepted.
    #[metadata(name = "useAzureAD", default = "false")]
    pub use_azure_ad: bool,
    /// Whether to authenticate with AWS IAM. Not available: only "false" is accepted.
    #[metadata(name = "useAWSIAM", default = "false")]
    pub use_aws_iam: bool,
    /// Secret key of AWS IAM, declared so that it is treated as the secret that it is.
    #[metadata(alias = "awsSecretKey", sensitive)]
    pub secret_key: Option<SecretString>,
    /// Access key of AWS IAM, declared so that it is treated as the secret that it is.
    #[metadata(alias = "awsAccessKey", sensitive)]
    pub access_key: Option<SecretString>,
    /// Session token of AWS IAM, declared so that it is treated as the secret that it is.
    #[metadata(alias = "awsSessionToken", sensitive)]
    pub session_token: Option<SecretString>,
    /// Client secret of Azure AD, declared so that it is treated as the secret that it is.
    #[metadata(alias = "spnClientSecret", sensitive)]
    pub azure_client_secret: Option<SecretString>,
}

const MODES: [&str; 5] = [
    "cache_statement",
    "cache_describe",
    "describe_exec",
    "exec",
    "simple_protocol",
];

impl PostgresMetadata {
    /// What the types alone cannot say.
    ///
    /// # Errors
    /// When a setting is not supported or cannot be used.
    pub fn check(&self) -> Result<(), MetadataError> {
        if self.timeout < Duration::from_secs(1) {
            return Err(MetadataError::new("timeout", "it is less than 1s", "use 1s or more"));
        }
        for (field, asked) in [("useAzureAD", self.use_azure_ad), ("useAWSIAM", self.use_aws_iam)] {
            if asked {
                let remedy = "use a user and a password in the connection string";
                return Err(MetadataError::new(field, "it is not available here", remedy));
            }
        }
        let mode = self.query_exec_mode.as_str();
        if !mode.is_empty() && !MODES.contains(&mode) {
            let remedy = format!("use one of: {}", MODES.join(", "));
            return Err(MetadataError::new("queryExecMode", "it is not known", remedy));
        }
        Ok(())
    }

    /// Whether statements stay prepared on their connection.
    pub fn caches_statements(&self) -> bool {
        matches!(self.query_exec_mode.as_str(), "" | "cache_statement" | "cache_describe")
    }
}
