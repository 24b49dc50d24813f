//! Metadata of `pubsub.rabbitmq`, under Dapr's names and with its defaults.
//!
//! One idea: what names and properties exchanges and queues have must be the same as with Dapr's own driver, or the server
//! refuses one of the two. Must never ignore a setting that weakens the connection.

use std::time::Duration;

use palladium_component::{ComponentMetadata, MetadataError, OpenError};
use palladium_components_dial::Certificates;
use palladium_components_rabbitmq::{Address, Reach};
use secrecy::{ExposeSecret as _, SecretString};

/// What a component says.
#[derive(Debug, ComponentMetadata)]
pub(super) struct RabbitMetadata {
    /// Address of the server: 'amqp://user:password@host:port/vhost', or 'amqps://…' for TLS.
    #[metadata(sensitive, alias = "host")]
    pub(super) connection_string: Option<SecretString>,
    /// Protocol, where there is no connectionString: 'amqp' or 'amqps'.
    #[metadata(allowed = "amqp", allowed = "amqps")]
    pub(super) protocol: Option<String>,
    /// Host, or 'host:port', where there is no connectionString.
    #[metadata(default = "localhost")]
    pub(super) hostname: String,
    /// User, where there is no connectionString; 'guest' when absent.
    pub(super) username: Option<String>,
    /// Password, where there is no connectionString.
    #[metadata(sensitive)]
    pub(super) password: Option<SecretString>,
    /// Whether exchanges and queues outlive a restart of the server.
    #[metadata(default = "true")]
    pub(super) durable: bool,
    /// Whether the server deletes a queue, with what is in it, when its last consumer is gone, and an exchange after its
    /// last queue.
    #[metadata(default = "true")]
    pub(super) deleted_when_unused: bool,
    /// Whether a message counts as handled as soon as it is received.
    #[metadata(default = "false")]
    pub(super) auto_ack: bool,
    /// Whether messages outlive a restart of the server in a durable queue: 2 = they do; 0 or 1 = they do not.
    #[metadata(default = "0")]
    pub(super) delivery_mode: u16,
    /// Whether a message that could not be handled comes again; otherwise it is dropped, or goes to the dead letter queue.
    #[metadata(default = "false")]
    pub(super) requeue_in_failure: bool,
    /// How many messages are under way at a time, up to 255; 0 = 32.
    #[metadata(default = "0")]
    pub(super) prefetch_count: u16,
    /// Until a lost connection is tried again; a bare number is seconds.
    #[metadata(alias = "reconnectWait", default = "3s")]
    pub(super) reconnect_wait_seconds: Duration,
    /// Whether publishing waits until the server says that it has the message. Dapr's default is 'false'.
    #[metadata(default = "true")]
    pub(super) publisher_confirm: bool,
    /// Whether messages of a subscription are handled side by side or one after the other.
    #[metadata(
        alias = "concurrencyMode",
        default = "parallel",
        allowed = "parallel",
        allowed = "single"
    )]
    pub(super) concurrency: String,
    /// Kind of the exchanges.
    #[metadata(
        default = "fanout",
        allowed = "fanout",
        allowed = "topic",
        allowed = "direct",
        allowed = "headers"
    )]
    pub(super) exchange_kind: String,
    /// Whether messages that could not be handled go to a queue of their own, 'dlq-<queue>'.
    #[metadata(default = "false")]
    pub(super) enable_dead_letter: bool,
    /// How many messages a queue holds at most; a subscription's own word counts more.
    pub(super) max_len: Option<i64>,
    /// How many bytes a queue holds at most; a subscription's own word counts more.
    pub(super) max_len_bytes: Option<i64>,
    /// How long messages are kept that say nothing themselves; for ever when absent.
    #[metadata(alias = "ttl")]
    pub(super) ttl_in_seconds: Option<Duration>,
    /// Name of the connection, for people who look at the server.
    pub(super) client_name: Option<String>,
    /// How often both sides give a sign of life.
    #[metadata(default = "10s")]
    pub(super) heart_beat: Duration,
    /// Whether a message's properties and headers are shown to the application as metadata.
    #[metadata(default = "false")]
    pub(super) publish_message_properties_to_metadata: bool,
    /// Whether the server takes the user from the client's certificate (amqps).
    #[metadata(default = "false")]
    pub(super) sasl_external: bool,
    /// Certificate (PEM) of the authority that the server's certificate must be under; the system's authorities when absent.
    #[metadata(name = "caCert")]
    pub(super) ca_cert: Option<String>,
    /// Client certificate (PEM).
    #[metadata(sensitive)]
    pub(super) client_cert: Option<SecretString>,
    /// Key of the client certificate (PEM).
    #[metadata(sensitive)]
    pub(super) client_key: Option<SecretString>,
}

impl RabbitMetadata {
    /// Refuses numbers that mean nothing.
    pub(super) fn check(&self) -> Result<(), MetadataError> {
        if self.delivery_mode > 2 {
            return Err(MetadataError::new("deliveryMode", "it is above 2", "use 0, 1 or 2"));
        }
        if self.prefetch_count > 255 {
            return Err(MetadataError::new(
                "prefetchCount",
                "it is above 255",
                "use a number up to 255",
            ));
        }
        Ok(())
    }

    fn address(&self) -> Result<Address, MetadataError> {
        let wanted = self
            .protocol
            .as_deref()
            .map(|protocol| protocol.eq_ignore_ascii_case("amqps"));
        let text = self.connection_string.as_ref().map(|text| text.expose_secret());
        match text.filter(|text| !text.is_empty()) {
            None => {
                let (user, password) = (self.username.as_deref(), self.password.as_ref());
                Address::of_parts(wanted.unwrap_or(false), &self.hostname, user, password)
            }
            Some(text) => {
                let address = Address::parse("connectionString", text)?;
                if wanted.is_some_and(|wanted| wanted != address.tls) {
                    let reason = "it contradicts the connectionString";
                    return Err(MetadataError::new("protocol", reason, "remove one of the two"));
                }
                Ok(address)
            }
        }
    }

    /// How the server is reached.
    pub(super) async fn reach(&self) -> Result<Reach, OpenError> {
        let certificates = Certificates {
            authority: self.ca_cert.as_deref(),
            client: self.client_cert.as_ref(),
            key: self.client_key.as_ref(),
        };
        let mut reach = Reach::new(self.address()?, certificates, self.sasl_external).await?;
        reach.client_name = self.client_name.clone().unwrap_or_default();
        reach.heartbeat = u16::try_from(self.heart_beat.as_secs()).unwrap_or(u16::MAX);
        Ok(reach)
    }
}
