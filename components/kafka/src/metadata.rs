//! Metadata of every component on Kafka, under Dapr's names and with its defaults.
//!
//! One idea: what is asked for and not available is refused by name; what Dapr marks as secret is one here too, even where the
//! setting it belongs to is refused. Must never unmark a secret.

use std::time::Duration;

use palladium_component::ComponentMetadata;
use palladium_component::metadata::Millis;
use secrecy::SecretString;

/// What a component says.
#[derive(Debug, ComponentMetadata)]
pub struct KafkaMetadata {
    /// Brokers of the cluster, 'host:port' with commas between. Those that they advertise are called, too.
    pub brokers: String,
    /// Consumer group; its members share the messages of a topic. The consumerID when absent.
    pub consumer_group: Option<String>,
    /// Name of the connections, for people who look at the cluster; the App ID when absent.
    #[metadata(name = "clientID")]
    pub client_id: Option<String>,
    /// How the cluster knows this client: 'none', 'password' (SASL), 'mtls' or 'certificate' (TLS, the server's certificate
    /// is checked against caCert). All but 'none' use TLS unless disableTls is set. 'oidc', 'oidc_private_key_jwt' and
    /// 'awsiam' are not available.
    #[metadata(
        allowed = "none",
        allowed = "password",
        allowed = "mtls",
        allowed = "certificate",
        allowed = "oidc",
        allowed = "oidc_private_key_jwt",
        allowed = "awsiam"
    )]
    pub auth_type: Option<String>,
    /// Old form of authType: 'true' means 'password' where there is a saslPassword, else 'mtls'; 'false' means 'none'.
    pub auth_required: Option<bool>,
    /// User of authType 'password'.
    pub sasl_username: Option<String>,
    /// Password of authType 'password'.
    #[metadata(sensitive)]
    pub sasl_password: Option<SecretString>,
    /// How the password is shown: 'PLAINTEXT', 'SHA-256' or 'SHA-512' (also as 'PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512').
    #[metadata(default = "PLAINTEXT")]
    pub sasl_mechanism: String,
    /// Whether to speak without TLS.
    #[metadata(default = "false")]
    pub disable_tls: bool,
    /// Whether any certificate of a server is accepted. Insecure.
    #[metadata(default = "false")]
    pub skip_verify: bool,
    /// Certificate (PEM) of the authority that the servers' certificates must be under; the system's authorities when absent.
    pub ca_cert: Option<String>,
    /// Client certificate (PEM) of authType 'mtls'.
    #[metadata(sensitive)]
    pub client_cert: Option<SecretString>,
    /// Key of the client certificate (PEM).
    #[metadata(sensitive)]
    pub client_key: Option<SecretString>,
    /// Where a group begins that has not received from a topic before: 'newest' or 'oldest'.
    #[metadata(default = "newest", allowed = "newest", allowed = "oldest")]
    pub initial_offset: String,
    /// Largest message that is published, in bytes; 0 = 1 MiB. The cluster has a bound of its own.
    #[metadata(default = "0")]
    pub max_message_bytes: u32,
    /// Whether a message that was not handled is handed out again, before those behind it. 'true' for publish/subscribe and
    /// 'false' for bindings when absent.
    pub consume_retry_enabled: Option<bool>,
    /// Until receiving is tried again after a failure; a bare number is milliseconds.
    #[metadata(default = "100ms")]
    pub consume_retry_interval: Millis,
    /// Pauses before a message that was not handled is handed out again: 'constant' ones or, growing, 'exponential' ones.
    #[metadata(default = "constant", allowed = "constant", allowed = "exponential")]
    pub back_off_policy: String,
    /// The pause of backOffPolicy 'constant'; a bare number is milliseconds.
    #[metadata(default = "5s")]
    pub back_off_duration: Millis,
    /// The first pause of backOffPolicy 'exponential'; a bare number is milliseconds.
    #[metadata(default = "500ms")]
    pub back_off_initial_interval: Millis,
    /// The longest pause of backOffPolicy 'exponential'; a bare number is milliseconds.
    #[metadata(default = "60s")]
    pub back_off_max_interval: Millis,
    /// How often a message is handed out again before it is given up; -1 = without end.
    #[metadata(default = "-1")]
    pub back_off_max_retries: i64,
    /// How often this member of the group gives a sign of life.
    #[metadata(default = "3s")]
    pub heartbeat_interval: Duration,
    /// After how long without a sign of life its messages go to others.
    #[metadata(default = "10s")]
    pub session_timeout: Duration,
    /// Version of the cluster. Not needed: what both sides can do is agreed upon.
    pub version: Option<String>,
    /// Whether values of headers are escaped as in a URL when they become metadata.
    #[metadata(default = "false")]
    pub escape_headers: bool,
    /// Regular expression of names that do not become headers, nor metadata.
    pub exclude_header_meta_regex: Option<String>,
    /// How messages are compressed: 'none', 'gzip', 'snappy' or 'lz4'. 'zstd' is understood, but not written.
    #[metadata(
        default = "none",
        allowed = "none",
        allowed = "gzip",
        allowed = "snappy",
        allowed = "lz4",
        allowed = "zstd"
    )]
    pub compression: String,
    /// Whose word counts when a message is published: 'all' in-sync replicas or 'local', the leader. 'none' counts as 'local'.
    #[metadata(default = "all", allowed = "all", allowed = "local", allowed = "none")]
    pub producer_required_acks: String,
    /// How a group shares its partitions. 'sticky' is Kafka's 'cooperative-sticky': all members of a group must use the same.
    #[metadata(default = "range", allowed = "range", allowed = "sticky", allowed = "roundrobin")]
    pub consumer_group_rebalance_strategy: String,
    /// How often it is looked for new partitions and brokers; 0 = 8 minutes.
    #[metadata(default = "8m")]
    pub client_connection_topic_metadata_refresh_interval: Duration,
    /// How often idle connections are kept alive; 0 = every minute.
    #[metadata(default = "0s")]
    pub client_connection_keep_alive_interval: Duration,
    /// Bytes that a broker waits for, up to half a second, before it answers.
    #[metadata(default = "1")]
    pub consumer_fetch_min: i32,
    /// Bytes that are fetched of a partition at a time; a larger message comes all the same.
    #[metadata(default = "1048576")]
    pub consumer_fetch_default: i32,
    /// Messages of a partition that are read ahead.
    #[metadata(default = "256")]
    pub channel_buffer_size: u32,
    /// Address of a schema registry. Not available.
    #[metadata(name = "schemaRegistryURL")]
    pub schema_registry_url: Option<String>,
    /// Key of the schema registry, declared so that it is treated as the secret that it is.
    #[metadata(name = "schemaRegistryAPIKey", sensitive)]
    pub schema_registry_api_key: Option<SecretString>,
    /// Secret of the schema registry, declared so that it is treated as the secret that it is.
    #[metadata(name = "schemaRegistryAPISecret", sensitive)]
    pub schema_registry_api_secret: Option<SecretString>,
    /// Whether Avro becomes Avro's form of JSON. Not available: only "false" is accepted.
    #[metadata(name = "useAvroJSON", default = "false")]
    pub use_avro_json: bool,
    /// Client secret of authType 'oidc', declared so that it is treated as the secret that it is.
    #[metadata(sensitive)]
    pub oidc_client_secret: Option<SecretString>,
    /// Key of authType 'oidc_private_key_jwt', declared so that it is treated as the secret that it is.
    #[metadata(sensitive)]
    pub oidc_client_assertion_key: Option<SecretString>,
    /// Access key of AWS IAM, declared so that it is treated as the secret that it is.
    #[metadata(alias = "awsAccessKey", sensitive)]
    pub access_key: Option<SecretString>,
    /// Secret key of AWS IAM, declared so that it is treated as the secret that it is.
    #[metadata(alias = "awsSecretKey", sensitive)]
    pub secret_key: Option<SecretString>,
    /// Session token of AWS IAM, declared so that it is treated as the secret that it is.
    #[metadata(alias = "awsSessionToken", sensitive)]
    pub session_token: Option<SecretString>,
}
