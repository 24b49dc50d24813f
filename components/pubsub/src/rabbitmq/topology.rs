//! What is on the server for a topic: the layout of Dapr's own driver.
//!
//! One idea: a topic is an exchange of its name, whoever receives has a queue bound to it; dead letters have an exchange and a
//! queue named after that. Names, kinds and arguments are Dapr's to the letter, because the server compares them. Must never
//! change what is there.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ExchangeKind};
use palladium_component::metadata::is_truthy;
use palladium_component::pubsub::Metadata;
use palladium_components_rabbitmq::{Fault, name, number, said};

use super::Settings;

/// Where a subscription receives from.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) exchange: ShortString,
    pub(super) name: ShortString,
    dead: Option<Dead>,
    arguments: FieldTable,
    routing_keys: Vec<ShortString>,
}

#[derive(Debug)]
struct Dead {
    exchange: ShortString,
    queue: ShortString,
    arguments: FieldTable,
}

impl Queue {
    /// That of a topic, as component and subscription say it.
    pub(super) fn new(settings: &Settings, topic: &str, metadata: &Metadata) -> Result<Self, Fault> {
        let queue = match said(metadata, "queueName") {
            Some(own) => own.to_owned(),
            None => format!("{}-{topic}", settings.consumer),
        };
        let mut arguments = FieldTable::default();
        let dead = match settings.dead_letters {
            false => None,
            true => {
                let exchange = format!("dlx-{queue}");
                set(&mut arguments, "x-dead-letter-exchange", text(&exchange));
                let mut lazy = FieldTable::default();
                bounds(settings, &mut lazy);
                set(&mut lazy, "x-queue-mode", text("lazy"));
                Some(Dead {
                    exchange: name(&exchange, "the dead letter exchange's name")?,
                    queue: name(&format!("dlq-{queue}"), "the dead letter queue's name")?,
                    arguments: lazy,
                })
            }
        };
        bounds(settings, &mut arguments);
        if let Some(most) = number(metadata, "maxPriority")? {
            set(&mut arguments, "x-max-priority", AMQPValue::ShortShortUInt(most));
        }
        let kind = said(metadata, "queueType").unwrap_or("classic");
        if kind != "classic" && kind != "quorum" {
            let reason = format!("invalid queue type {kind}. Valid types are classic and quorum");
            return Err(Fault::Invalid(reason));
        }
        set(&mut arguments, "x-queue-type", text(kind));
        let alone = said(metadata, "singleActiveConsumer").unwrap_or_default();
        if is_truthy(alone) {
            set(&mut arguments, "x-single-active-consumer", AMQPValue::Boolean(true));
        }
        for (own, argument) in [("maxLenBytes", "x-max-length-bytes"), ("maxLen", "x-max-length")] {
            if let Some(text) = said(metadata, own) {
                let wrong = |_| Fault::Invalid(format!("{own} must be a whole number: actual is '{text}'"));
                let most: u32 = text.trim().parse().map_err(wrong)?;
                set(&mut arguments, argument, AMQPValue::LongLongInt(most.into()));
            }
        }
        let keys = said(metadata, "routingKey").unwrap_or_default().split(',');
        Ok(Queue {
            exchange: name(topic, "the topic's name")?,
            name: name(&queue, "the queue's name")?,
            dead,
            arguments,
            routing_keys: keys.map(|key| name(key, "a routing key")).collect::<Result<_, _>>()?,
        })
    }

    /// Makes what is not there.
    pub(super) async fn declare(&self, settings: &Settings, channel: &Channel) -> Result<(), Fault> {
        exchange(settings, &self.exchange, channel).await?;
        if let Some(dead) = &self.dead {
            let always = ExchangeDeclareOptions {
                durable: true,
                auto_delete: settings.auto_delete,
                ..ExchangeDeclareOptions::default()
            };
            let kind = ExchangeKind::Fanout;
            let declaring = channel.exchange_declare(dead.exchange.clone(), kind, always, FieldTable::default());
            declaring.await?;
            let always = QueueDeclareOptions {
                durable: true,
                auto_delete: settings.auto_delete,
                ..QueueDeclareOptions::default()
            };
            channel
                .queue_declare(dead.queue.clone(), always, dead.arguments.clone())
                .await?;
            bind(channel, &dead.queue, &dead.exchange, &ShortString::default()).await?;
        }
        let options = QueueDeclareOptions {
            durable: settings.durable,
            auto_delete: settings.auto_delete,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(self.name.clone(), options, self.arguments.clone())
            .await?;
        for key in &self.routing_keys {
            bind(channel, &self.name, &self.exchange, key).await?;
        }
        Ok(())
    }
}

/// Makes a topic's exchange if it is not there.
pub(super) async fn exchange(settings: &Settings, topic: &ShortString, channel: &Channel) -> Result<(), Fault> {
    let options = ExchangeDeclareOptions {
        durable: settings.durable,
        auto_delete: settings.auto_delete,
        ..ExchangeDeclareOptions::default()
    };
    let kind = settings.kind.clone();
    Ok(channel
        .exchange_declare(topic.clone(), kind, options, FieldTable::default())
        .await?)
}

async fn bind(channel: &Channel, queue: &ShortString, to: &ShortString, key: &ShortString) -> Result<(), Fault> {
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    Ok(channel
        .queue_bind(queue.clone(), to.clone(), key.clone(), options, none)
        .await?)
}

/// The component's bounds of every queue.
fn bounds(settings: &Settings, arguments: &mut FieldTable) {
    for (most, argument) in [
        (settings.max_len, "x-max-length"),
        (settings.max_len_bytes, "x-max-length-bytes"),
    ] {
        if let Some(most) = most.filter(|most| *most > 0) {
            set(arguments, argument, AMQPValue::LongLongInt(most));
        }
    }
}

fn set(arguments: &mut FieldTable, argument: &'static str, value: AMQPValue) {
    arguments.insert(argument.into(), value);
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;

    fn queue(component: &[(&str, &str)], subscription: &[(&str, &str)]) -> Result<Queue, Fault> {
        let said = subscription
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        Queue::new(&settings(component), "orders", &said.collect())
    }

    fn argument(arguments: &FieldTable, name: &str) -> Option<AMQPValue> {
        arguments.inner().get(name).cloned()
    }

    #[test]
    fn names_are_daprs() {
        let queue = queue(
            &[("consumerID", "shop"), ("enableDeadLetter", "true"), ("maxLen", "5")],
            &[],
        )
        .unwrap();
        assert_eq!(
            (queue.exchange.as_str(), queue.name.as_str()),
            ("orders", "shop-orders")
        );
        let dead = queue.dead.unwrap();
        assert_eq!(
            (dead.exchange.as_str(), dead.queue.as_str()),
            ("dlx-shop-orders", "dlq-shop-orders")
        );
        assert_eq!(argument(&dead.arguments, "x-queue-mode"), Some(text("lazy")));
        assert_eq!(
            argument(&dead.arguments, "x-max-length"),
            Some(AMQPValue::LongLongInt(5))
        );
        assert_eq!(
            argument(&queue.arguments, "x-dead-letter-exchange"),
            Some(text("dlx-shop-orders"))
        );
        assert_eq!(argument(&queue.arguments, "x-queue-type"), Some(text("classic")));
        assert_eq!(queue.routing_keys, [ShortString::default()]);
    }

    #[test]
    fn a_subscription_has_the_last_word() {
        let said = [
            ("queueName", "q"),
            ("queueType", "quorum"),
            ("routingKey", "a.*,b"),
            ("maxPriority", "300"),
            ("singleActiveConsumer", "true"),
            ("maxLen", "9"),
        ];
        let queue = queue(&[("maxLen", "5"), ("maxLenBytes", "100")], &said).unwrap();
        assert_eq!(queue.name.as_str(), "q");
        let keys: Vec<&str> = queue.routing_keys.iter().map(ShortString::as_str).collect();
        assert_eq!(keys, ["a.*", "b"]);
        for (name, value) in [
            ("x-max-length", AMQPValue::LongLongInt(9)),
            ("x-max-length-bytes", AMQPValue::LongLongInt(100)),
            ("x-max-priority", AMQPValue::ShortShortUInt(255)),
            ("x-single-active-consumer", AMQPValue::Boolean(true)),
            ("x-queue-type", text("quorum")),
        ] {
            assert_eq!(argument(&queue.arguments, name), Some(value), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_never_panics() {
        let long = "x".repeat(300);
        for said in [
            ("queueType", "stream"),
            ("maxLen", "many"),
            ("maxPriority", "x"),
            ("routingKey", &long),
        ] {
            assert!(matches!(queue(&[], &[said]), Err(Fault::Invalid(_))), "{said:?}");
        }
        assert!(Queue::new(&settings(&[]), &long, &Metadata::new()).is_err());
    }
}
