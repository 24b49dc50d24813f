//! Metadata of `state.postgresql`, under Dapr's names.
//!
//! One idea: names, aliases and defaults are Dapr's, what is asked for and not available is refused by name. Must never
//! unmark the connection string as secret.

use std::time::Duration;

use palladium_component::metadata::Interval;
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
    /// Table that holds the state in version v1, with a schema before it if needed.
    #[metadata(default = "state")]
    pub table_name: String,
    /// What stands before the names of tables in version v2: a prefix, a schema with '.', or both.
    #[metadata(default = "")]
    pub table_prefix: String,
    /// Table that holds the driver's own notes, with a schema before it if needed.
    #[metadata(default = "dapr_metadata")]
    pub metadata_table_name: String,
    /// How long one request may take.
    #[metadata(alias = "timeoutInSeconds", default = "20s")]
    pub timeout: Duration,
    /// How often expired rows are removed; 0 or less = never. Expired rows are never returned, removed or not.
    #[metadata(alias = "cleanupIntervalInSeconds", default = "1h")]
    pub cleanup_interval: Interval,
    /// Most connections at a time; the number of cores and at least 4 when 1 or less.
    #[metadata(default = "0")]
    pub max_conns: i32,
    /// How long a connection may idle before it is closed.
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
    #[expect(dead_code, reason = "declared for its secrecy alone")]
    pub secret_key: Option<SecretString>,
    /// Access key of AWS IAM, declared so that it is treated as the secret that it is.
    #[metadata(alias = "awsAccessKey", sensitive)]
    #[expect(dead_code, reason = "declared for its secrecy alone")]
    pub access_key: Option<SecretString>,
    /// Session token of AWS IAM, declared so that it is treated as the secret that it is.
    #[metadata(alias = "awsSessionToken", sensitive)]
    #[expect(dead_code, reason = "declared for its secrecy alone")]
    pub session_token: Option<SecretString>,
    /// Client secret of Azure AD, declared so that it is treated as the secret that it is.
    #[metadata(alias = "spnClientSecret", sensitive)]
    #[expect(dead_code, reason = "declared for its secrecy alone")]
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
