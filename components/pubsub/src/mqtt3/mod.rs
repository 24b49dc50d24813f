//! `pubsub.mqtt3`: topics of an MQTT 3.1.1 broker, as Dapr's own driver uses them.
//!
//! The one idea: one client, named by the consumerID, sends and receives; a message is acknowledged when it was handled, and
//! otherwise stays with the broker, which sends it again to the next connection of that name. MQTT has no word for a message
//! that failed: unlike Dapr 1.18, it is tried again here meanwhile. As in Dapr, metadata do not travel, two clients of one
//! name push each other out, and those who share a topic subscribe to `$share/<group>/<topic>` under names of their own. Must
//! never acknowledge a message that failed or was not settled.

mod bus;
mod metadata;
mod session;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use palladium_component::{ComponentMetadata as _, Hosted, OpenContext, OpenError, PubSub, PubsubDriver, Status};
use rumqttc::{AckMode, AsyncClient, Broker, Event, MqttOptions, Packet};
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

use bus::Bus;
use metadata::MqttMetadata;
use session::{Arrived, Session};

/// The driver.
pub const DRIVER: PubsubDriver = PubsubDriver {
    type_name: "pubsub.mqtt3",
    aliases: &["pubsub.mqtt"],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: MqttMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// How long it may take to connect.
const CONNECTING: Duration = Duration::from_secs(20);
/// Seconds without a sign of life after which one is asked for.
const KEEP_ALIVE: u16 = 30;
/// Bytes of the largest message.
const LARGEST: usize = 64 << 20;
/// Requests that wait for the connection.
const REQUESTS: usize = 4096;

async fn open(context: OpenContext) -> Result<Arc<dyn PubSub>, OpenError> {
    let metadata = MqttMetadata::parse(&context.properties)?;
    let broker = metadata.broker().await?;
    let name = context.properties.get("consumerID").unwrap_or_default().trim();
    let name = if name.is_empty() { &context.app_id } else { name };
    let target = broker.target;
    let mut options = MqttOptions::new(name, Broker::tcp(target.host(), target.port()));
    options.set_keep_alive(KEEP_ALIVE);
    options.set_max_packet_size(LARGEST, LARGEST);
    options.set_ack_mode(AckMode::Manual);
    options.set_request_channel_capacity(REQUESTS);
    let cleaned = options.try_set_clean_session(metadata.clean_session).map(drop);
    cleaned.map_err(|error| OpenError::Unavailable(format!("mqtt: {error}")))?;
    match (broker.user.is_empty(), broker.password.expose_secret().is_empty()) {
        (true, _) => {}
        (false, true) => {
            options.set_username(broker.user);
        }
        (false, false) => {
            options.set_credentials(broker.user, broker.password.expose_secret().as_bytes().to_vec());
        }
    }
    let place = target.to_string();
    options.set_socket_connector(move |_, _| {
        let target = target.clone();
        async move { target.connect().await }
    });
    let unavailable = |reason: String| OpenError::Unavailable(format!("mqtt: cannot connect to {place}: {reason}"));
    let (client, mut events) = AsyncClient::builder(options)
        .try_build()
        .map_err(|error| unavailable(error.to_string()))?;
    match timeout(CONNECTING, events.poll()).await {
        Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {}
        Ok(Ok(_)) => return Err(unavailable("it does not answer as a broker".into())),
        Ok(Err(error)) => return Err(unavailable(error.to_string())),
        Err(_) => return Err(unavailable(format!("no answer within {CONNECTING:?}"))),
    }
    let session = Session::new(client, metadata.qos(), metadata.retries());
    Ok(Arc::new(Bus::new(
        session,
        events,
        metadata.retain,
        metadata.clean_session,
    )))
}

#[cfg(test)]
mod tests {
    pub(super) use super::session::arrived;
    use super::*;

    #[tokio::test]
    async fn no_broker_is_a_clear_error_without_secrets() {
        let properties = [("url", "tcp://u:hunter2@127.0.0.1:1")].into_iter().collect();
        let error = open(OpenContext::new("c", "app", properties))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("127.0.0.1:1") && !error.contains("hunter2"), "{error}");
    }
}
