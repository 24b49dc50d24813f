//! Metadata of `bindings.rabbitmq`, under Dapr's names and with its defaults.
//!
//! One idea: the queue must be declared as Dapr's own driver declares it, or the server refuses one of the two. Must never
//! ignore a setting that weakens the connection.

use std::time::Duration;

use palladium_component::{ComponentMetadata, OpenError};
use palladium_components_dial::Certificates;
use palladium_components_rabbitmq::{Address, Reach};
use secrecy::{ExposeSecret as _, SecretString};

/// What a component says.
#[derive(Debug, ComponentMetadata)]
pub(super) struct RabbitMetadata {
    /// Address of the server: 'amqp://user:password@host:port/vhost', or 'amqps://…' for TLS.
    #[metadata(sensitive)]
    pub(super) host: SecretString,
    /// The queue.
    pub(super) queue_name: String,
    /// Whether the queue outlives a restart of the server.
    #[metadata(default = "false")]
    pub(super) durable: bool,
    /// Whether the server deletes the queue, with what is in it, when its last consumer is gone.
    #[metadata(default = "false")]
    pub(super) delete_when_unused: bool,
    /// Whether the queue is this component's alone, and goes with its connection.
    #[metadata(default = "false")]
    pub(super) exclusive: bool,
    /// How many messages are read ahead; 0 = 32.
    #[metadata(default = "0")]
    pub(super) prefetch_count: u16,
    /// Highest priority of the queue's messages, up to 255; a queue without priorities when absent.
    pub(super) max_priority: Option<u32>,
    /// How long messages are kept that say nothing themselves; a bare number is seconds, for ever when absent.
    #[metadata(alias = "ttlInSeconds")]
    pub(super) ttl: Option<Duration>,
    /// Content type of messages that say nothing themselves.
    #[metadata(default = "text/plain")]
    pub(super) content_type: String,
    /// Until a lost connection is tried again; a bare number is seconds.
    #[metadata(default = "5s")]
    pub(super) reconnect_wait_in_seconds: Duration,
    /// Whether the server takes the user from the client's certificate (amqps).
    #[metadata(alias = "saslExternal", default = "false")]
    pub(super) external_sasl: bool,
    /// Certificate (PEM) of the authority that the server's certificate must be under; the system's authorities when absent.
    pub(super) ca_cert: Option<String>,
    /// Client certificate (PEM).
    #[metadata(sensitive)]
    pub(super) client_cert: Option<SecretString>,
    /// Key of the client certificate (PEM).
    #[metadata(sensitive)]
    pub(super) client_key: Option<SecretString>,
}

impl RabbitMetadata {
    /// How the server is reached.
    pub(super) async fn reach(&self) -> Result<Reach, OpenError> {
        let certificates = Certificates {
            authority: self.ca_cert.as_deref(),
            client: self.client_cert.as_ref(),
            key: self.client_key.as_ref(),
        };
        Reach::new(
            Address::parse("host", self.host.expose_secret())?,
            certificates,
            self.external_sasl,
        )
        .await
    }
}
