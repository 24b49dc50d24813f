//! The queue: how it is declared, and its messages as events.
//!
//! One idea: one event at a time, as in Dapr; what was not handled comes again. Must never cut off an event that is being
//! handled.

use std::sync::Arc;

use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use palladium_component::bindings::{Event, Listener, Metadata};
use palladium_component::reply::BoxFuture;
use palladium_components_rabbitmq::{Ending, Fault, Taker, name};
use palladium_tasks::Shutdown;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::metadata::RabbitMetadata;

/// What Go leaves as it is in a query; a blank becomes `+`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b' ');

/// One queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: ShortString,
    options: QueueDeclareOptions,
    arguments: FieldTable,
}

impl Queue {
    pub(super) fn new(metadata: &RabbitMetadata) -> Result<Self, Fault> {
        let mut arguments = FieldTable::default();
        if let Some(time) = metadata.ttl {
            let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
            arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(millis));
        }
        if let Some(most) = metadata.max_priority {
            let most = u8::try_from(most).unwrap_or(u8::MAX);
            arguments.insert("x-max-priority".into(), AMQPValue::ShortShortUInt(most));
        }
        Ok(Queue {
            name: name(&metadata.queue_name, "queueName")?,
            options: QueueDeclareOptions {
                durable: metadata.durable,
                auto_delete: metadata.delete_when_unused,
                exclusive: metadata.exclusive,
                ..QueueDeclareOptions::default()
            },
            arguments,
        })
    }

    /// Makes it if it is not there.
    pub(super) async fn declare(&self, channel: &Channel) -> Result<(), Fault> {
        let declaring = channel.queue_declare(self.name.clone(), self.options, self.arguments.clone());
        declaring.await?;
        Ok(())
    }
}

/// Hands its messages to a listener.
pub(super) struct Events {
    pub(super) queue: Arc<Queue>,
    pub(super) listener: Arc<dyn Listener>,
    pub(super) stop: Shutdown,
}

impl Taker for Events {
    fn declare<'a>(&'a self, channel: &'a Channel) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.queue.declare(channel))
    }

    fn take(&self, delivery: Delivery) -> BoxFuture<'_, Option<BoxFuture<'static, Ending>>> {
        Box::pin(async move {
            if self.stop.is_triggered() {
                return None;
            }
            let event = Event {
                metadata: metadata(&delivery),
                data: delivery.data.into(),
                content_type: String::new(),
            };
            let ending = match self.listener.event(event).await {
                Ok(_) => Ending::Done,
                Err(error) => {
                    tracing::debug!(queue = %self.queue.name, error, "an event was not handled");
                    Ending::Again
                }
            };
            let ending: BoxFuture<'static, Ending> = Box::pin(std::future::ready(ending));
            Some(ending)
        })
    }

    fn unwanted(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.stop.wait())
    }
}

/// Headers that are texts; names and values in a form that may stand in an HTTP header.
fn metadata(delivery: &Delivery) -> Metadata {
    let headers = delivery.properties.headers().as_ref();
    let headers = headers.into_iter().flat_map(|headers| headers.inner());
    headers
        .filter_map(|(name, value)| match value {
            AMQPValue::LongString(text) => Some((
                escaped(name.as_str()),
                escaped(&String::from_utf8_lossy(text.as_bytes())),
            )),
            _ => None,
        })
        .collect()
}

/// As Go's `url.QueryEscape` writes a text.
fn escaped(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string().replace(' ', "+")
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;

    #[test]
    fn headers_become_metadata() {
        let mut headers = FieldTable::default();
        headers.insert("a b/ü".into(), AMQPValue::LongString("v ü\n".into()));
        headers.insert("number".into(), AMQPValue::LongInt(7));
        let mut delivery = Delivery::mock(1, "".into(), "q".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_headers(headers);
        assert_eq!(
            metadata(&delivery),
            [("a+b%2F%C3%BC".to_owned(), "v+%C3%BC%0A".to_owned())].into()
        );
    }
}
