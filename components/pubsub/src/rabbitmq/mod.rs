//! `pubsub.rabbitmq`: exchanges and queues in the layout of Dapr's own driver, so that daprd and this driver can share one
//! server.
//!
//! The one idea: a topic is an exchange, those who receive under one name share one queue of it, `<consumerID>-<topic>`; the
//! server keeps a message until it is told how it ended, and gives it out again when a connection is lost before. Unlike Dapr
//! 1.18, publishing waits for the server's word unless told not to, and no consumer is sent more than it can hold. As in Dapr,
//! a message's metadata stay behind, but for those that are properties of the protocol. Must never take for granted that the
//! server still has what was declared.

mod bus;
mod metadata;
mod receive;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use lapin::ExchangeKind;
use palladium_component::{
    ComponentMetadata as _, Hosted, MetadataError, OpenContext, OpenError, PubSub, PubsubDriver, Status,
};
use palladium_components_rabbitmq::Link;

use bus::Bus;
use metadata::RabbitMetadata;

/// The driver.
pub const DRIVER: PubsubDriver = PubsubDriver {
    type_name: "pubsub.rabbitmq",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: RabbitMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// How this component sends and receives.
struct Settings {
    /// Under which name it receives.
    consumer: String,
    durable: bool,
    auto_delete: bool,
    auto_ack: bool,
    delivery_mode: u8,
    requeue: bool,
    prefetch: u16,
    confirm: bool,
    single: bool,
    kind: ExchangeKind,
    dead_letters: bool,
    max_len: Option<i64>,
    max_len_bytes: Option<i64>,
    time_to_live: Option<Duration>,
    show_properties: bool,
}

impl Settings {
    fn new(metadata: &RabbitMetadata, context: &OpenContext) -> Self {
        let consumer = context.properties.get("consumerID").unwrap_or_default().trim();
        Settings {
            consumer: if consumer.is_empty() {
                context.app_id.clone()
            } else {
                consumer.to_owned()
            },
            durable: metadata.durable,
            auto_delete: metadata.deleted_when_unused,
            auto_ack: metadata.auto_ack,
            delivery_mode: u8::try_from(metadata.delivery_mode).unwrap_or_default(),
            requeue: metadata.requeue_in_failure,
            prefetch: metadata.prefetch_count,
            confirm: metadata.publisher_confirm,
            single: metadata.concurrency.eq_ignore_ascii_case("single"),
            kind: match metadata.exchange_kind.to_ascii_lowercase().as_str() {
                "topic" => ExchangeKind::Topic,
                "direct" => ExchangeKind::Direct,
                "headers" => ExchangeKind::Headers,
                _ => ExchangeKind::Fanout,
            },
            dead_letters: metadata.enable_dead_letter,
            max_len: metadata.max_len,
            max_len_bytes: metadata.max_len_bytes,
            time_to_live: metadata.ttl_in_seconds,
            show_properties: metadata.publish_message_properties_to_metadata,
        }
    }
}

async fn open(context: OpenContext) -> Result<Arc<dyn PubSub>, OpenError> {
    let metadata = RabbitMetadata::parse(&context.properties)?;
    metadata.check()?;
    let is_said = |name: &str| {
        context
            .properties
            .get(name)
            .is_some_and(|value| !value.trim().is_empty())
    };
    if context.hosting.is_platform() && !["connectionString", "hostname", "host"].into_iter().any(is_said) {
        // The default is a server on this machine, which the region's owner was not asked about.
        return Err(MetadataError::new("hostname", "it is missing", "name the server").into());
    }
    let reach = Arc::new(metadata.reach().await?);
    let pause = metadata.reconnect_wait_seconds;
    let (sending, receiving) = (Link::new(reach.clone(), pause), Link::new(reach, pause));
    let reached = sending.ping().await;
    reached.map_err(|fault| OpenError::Unavailable(format!("rabbitmq pub/sub: {fault}")))?;
    Ok(Arc::new(Bus::new(
        Settings::new(&metadata, &context),
        sending,
        receiving,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn settings(pairs: &[(&str, &str)]) -> Settings {
        let context = OpenContext::new("c", "app", pairs.iter().copied().collect());
        Settings::new(&RabbitMetadata::parse(&context.properties).unwrap(), &context)
    }

    #[test]
    fn defaults_are_daprs() {
        let plain = settings(&[]);
        assert!(plain.durable && plain.auto_delete && plain.confirm);
        assert!(!plain.auto_ack && !plain.requeue && !plain.single && !plain.dead_letters && !plain.show_properties);
        assert_eq!(
            (plain.consumer.as_str(), plain.delivery_mode, plain.prefetch),
            ("app", 0, 0)
        );
        assert_eq!(plain.kind, ExchangeKind::Fanout);
        assert!(settings(&[("concurrencyMode", "Single")]).single);
        assert_eq!(settings(&[("consumerID", "shop")]).consumer, "shop");
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_by_name_and_without_secrets() {
        palladium_tls::install_crypto_provider();
        let server = ("connectionString", "amqp://u:hunter2@127.0.0.1:1");
        for (pair, field) in [
            (("deliveryMode", "3"), "deliveryMode"),
            (("prefetchCount", "256"), "prefetchCount"),
            (("exchangeKind", "x-delayed"), "exchangeKind"),
            (("concurrency", "some"), "concurrency"),
            (("protocol", "amqps"), "protocol"),
            (("saslExternal", "true"), "saslExternal"),
            (("clientCert", "x"), "clientKey"),
            (("caCert", "x"), "caCert"),
            (("connectionString", "hunter2"), "connectionString"),
        ] {
            let properties = [server, pair].into_iter().collect();
            let error = open(OpenContext::new("c", "app", properties)).await.err().unwrap();
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert!(
                matches!(&error, OpenError::Metadata(error) if error.field == field),
                "{error}"
            );
        }
        let properties = [server].into_iter().collect();
        let error = open(OpenContext::new("c", "app", properties))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("127.0.0.1:1") && !error.contains("hunter2"), "{error}");
    }
}
