//! Receiving from one queue.
//!
//! One idea: what the application said about a message is what the server is told, by the component's settings. Must never
//! tell the server that a message is done that was not.

use std::sync::Arc;

use lapin::Channel;
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use palladium_component::pubsub::{Message, Metadata, Outcome, Supply};
use palladium_component::reply::BoxFuture;
use palladium_components_rabbitmq::{Ending, Fault, Taker};
use palladium_tasks::Shutdown;

use super::Settings;
use super::topology::Queue;

/// A subscription.
pub(super) struct Receiver {
    pub(super) settings: Arc<Settings>,
    pub(super) topic: String,
    pub(super) queue: Queue,
    pub(super) supply: Supply,
    pub(super) stop: Shutdown,
}

impl Taker for Receiver {
    fn declare<'a>(&'a self, channel: &'a Channel) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(self.queue.declare(&self.settings, channel))
    }

    fn take(&self, delivery: Delivery) -> BoxFuture<'_, Option<BoxFuture<'static, Ending>>> {
        Box::pin(async move {
            let metadata = match self.settings.show_properties {
                true => shown(&delivery),
                false => Metadata::new(),
            };
            let message = Message {
                topic: self.topic.clone(),
                data: delivery.data.into(),
                metadata,
                content_type: None,
            };
            let settled = self.supply.deliver(message).await?;
            let requeue = self.settings.requeue;
            let ending = async move {
                match settled.outcome().await {
                    Some(Outcome::Done) => Ending::Done,
                    Some(Outcome::Failed) if !requeue => Ending::Reject,
                    Some(Outcome::Failed) | None => Ending::Again,
                }
            };
            let ending: BoxFuture<'static, Ending> = match self.settings.single {
                true => Box::pin(std::future::ready(ending.await)),
                false => Box::pin(ending),
            };
            Some(ending)
        })
    }

    fn unwanted(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            tokio::select! {
                () = self.supply.unwanted() => {}
                () = self.stop.wait() => {}
            }
        })
    }
}

/// A message's properties and headers, under Dapr's names for them.
fn shown(delivery: &Delivery) -> Metadata {
    let properties = &delivery.properties;
    let mut metadata = Metadata::new();
    for (name, value) in [
        ("metadata.messageid", properties.message_id()),
        ("metadata.correlationid", properties.correlation_id()),
        ("metadata.type", properties.kind()),
        ("metadata.contenttype", properties.content_type()),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.as_str().is_empty()) {
            metadata.insert(name.to_owned(), value.to_string());
        }
    }
    let headers = properties.headers().as_ref();
    for (name, value) in headers.into_iter().flat_map(|headers| headers.inner()) {
        if let Some(value) = words(value) {
            metadata.insert(format!("metadata.{name}"), value);
        }
    }
    metadata
}

/// A header's value as text; tables and lists have none.
fn words(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into_owned(),
        AMQPValue::Boolean(truth) => truth.to_string(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::ShortShortUInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::ShortUInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongUInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Timestamp(number) => number.to_string(),
        AMQPValue::Float(number) => number.to_string(),
        AMQPValue::Double(number) => number.to_string(),
        AMQPValue::DecimalValue(_) | AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) | AMQPValue::Void => {
            return None;
        }
    })
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use lapin::types::FieldTable;

    use super::*;

    #[test]
    fn properties_and_headers_have_daprs_names() {
        let mut headers = FieldTable::default();
        headers.insert("Key".into(), AMQPValue::LongString("v".into()));
        headers.insert("n".into(), AMQPValue::LongInt(7));
        headers.insert("none".into(), AMQPValue::Void);
        let mut delivery = Delivery::mock(1, "e".into(), "k".into(), false, Vec::new());
        delivery.properties = BasicProperties::default()
            .with_message_id("m".into())
            .with_headers(headers);
        let shown = shown(&delivery);
        let expected = [("metadata.messageid", "m"), ("metadata.Key", "v"), ("metadata.n", "7")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(shown, expected.into_iter().collect());
    }
}
