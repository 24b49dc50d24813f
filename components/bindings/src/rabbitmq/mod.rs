//! `bindings.rabbitmq`: a queue of RabbitMQ, both ways.
//!
//! The one idea: `create` puts a message into the queue and is done when the server has it, with the call's metadata as
//! headers; each message of the queue is an event, and comes again unless it was handled. Both ways use one connection,
//! because an exclusive queue is its connection's. Must never put a message into the queue twice.

mod metadata;
mod queue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::TryFutureExt as _;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use palladium_component::bindings::{
    Answer, Binding, BindingDriver, BindingError, Listener, Listening, Operation, Ways,
};
use palladium_component::metadata::time_to_live;
use palladium_component::{
    CallError, ComponentMetadata as _, Hosted, MetadataError, OpenContext, OpenError, Reply, Status,
};
use palladium_components_rabbitmq::{Fault, Intake, Link, Outlet, name, number, properties};
use palladium_tasks::{Shutdown, Tasks};

use crate::until::{Until, closed};
use metadata::RabbitMetadata;
use queue::{Events, Queue};

/// The driver.
pub const DRIVER: BindingDriver = BindingDriver {
    type_name: "bindings.rabbitmq",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: RabbitMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// How its messages begin.
const WHAT: &str = "rabbitmq binding";
/// How long events under way may take when the component is closed.
const DRAIN: Duration = Duration::from_secs(5);
/// As Dapr's: in a durable queue they outlive a restart of the server.
const PERSISTENT: u8 = 2;

async fn open(context: OpenContext) -> Result<Arc<dyn Binding>, OpenError> {
    let metadata = RabbitMetadata::parse(&context.properties)?;
    let queue = Queue::new(&metadata);
    let queue = queue.map_err(|fault| MetadataError::new("queueName", fault.to_string(), "correct it"))?;
    let content_type = name(&metadata.content_type, "contentType");
    content_type.map_err(|fault| MetadataError::new("contentType", fault.to_string(), "correct it"))?;
    let link = Arc::new(Link::new(
        Arc::new(metadata.reach().await?),
        metadata.reconnect_wait_in_seconds,
    ));
    let rabbit = Rabbit {
        outlet: Outlet::new(link.clone(), true),
        link,
        queue: Arc::new(queue),
        content_type: metadata.content_type,
        prefetch: metadata.prefetch_count,
        stop: Shutdown::new(),
        tasks: Mutex::default(),
    };
    let declared = rabbit.declare().await;
    declared.map_err(|fault| OpenError::Unavailable(format!("{WHAT}: {fault}")))?;
    Ok(Arc::new(rabbit))
}

struct Rabbit {
    link: Arc<Link>,
    outlet: Outlet,
    queue: Arc<Queue>,
    content_type: String,
    prefetch: u16,
    stop: Shutdown,
    tasks: Mutex<Tasks>,
}

impl Rabbit {
    /// A panic under this lock leaves a set that is still whole.
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn declare(&self) -> Result<(), Fault> {
        let queue = &self.queue;
        let declare = async |channel: &lapin::Channel| queue.declare(channel).await;
        self.outlet.once(queue.name.as_str(), declare).await
    }

    async fn create(&self, operation: &Operation) -> Result<Answer, Fault> {
        let metadata = &operation.metadata;
        let time = time_to_live(metadata).map_err(Fault::Invalid)?;
        let made = properties(metadata, &self.content_type, time)?;
        let mut headers = FieldTable::default();
        for (key, value) in metadata {
            let value = AMQPValue::LongString(LongString::from(value.as_str()));
            headers.insert(name(key, "a name in the metadata")?, value);
        }
        let mut made = made.with_delivery_mode(PERSISTENT).with_headers(headers);
        if let Some(priority) = number(metadata, "priority")? {
            made = made.with_priority(priority);
        }
        self.declare().await?;
        let queues = ShortString::default();
        self.outlet
            .send(&queues, &self.queue.name, &operation.data, &made)
            .await?;
        Ok(Answer::default())
    }

    async fn receive(&self, listener: Arc<dyn Listener>) -> Result<Listening, Fault> {
        let stop = self.stop.child();
        let until = Until(stop.clone());
        let intake = Intake {
            link: self.link.clone(),
            queue: self.queue.name.clone(),
            prefetch: self.prefetch,
            auto_ack: false,
        };
        let events = Events {
            queue: self.queue.clone(),
            listener,
            stop,
        };
        let receiving = intake.start(Arc::new(events)).await?;
        self.tasks().spawn("bindings-rabbitmq", receiving);
        Ok(Box::new(until))
    }
}

impl Binding for Rabbit {
    fn ways(&self) -> Ways {
        Ways { out: true, into: true }
    }

    fn operations(&self) -> Vec<String> {
        vec!["create".to_owned()]
    }

    fn invoke<'a>(&'a self, operation: &'a Operation) -> Reply<'a, Answer, BindingError> {
        if operation.name != "create" {
            let words = format!("invalid operation: {}", operation.name);
            return Reply::ready(Err(CallError::Invalid(words).into()));
        }
        let creating = self.create(operation).map_err(|fault| fault.call(WHAT));
        let created = self.stop.try_unless(creating, || closed(WHAT));
        Reply::wait(created.map_err(BindingError::from))
    }

    fn listen(&self, listener: Arc<dyn Listener>) -> Reply<'_, Listening, CallError> {
        let receiving = self.receive(listener).map_err(|fault| fault.call(WHAT));
        Reply::wait(self.stop.try_unless(receiving, || closed(WHAT)))
    }

    fn close(&self) -> Reply<'_, (), CallError> {
        self.stop.trigger();
        let tasks = std::mem::take(&mut *self.tasks());
        Reply::wait(async move {
            // What is still under way stays with the server and comes again.
            if let Err(overdue) = tasks.drain(DRAIN).await {
                tracing::debug!(%overdue, "closed with events under way");
            }
            self.link.close().await;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_is_refused_by_name_and_without_secrets() {
        palladium_tls::install_crypto_provider();
        let long = "x".repeat(256);
        for (pairs, field) in [
            (&[("queueName", "q")][..], "host"),
            (&[("host", "amqp://u:hunter2@h")], "queueName"),
            (&[("host", "amqp://u:hunter2@h"), ("queueName", &long)], "queueName"),
            (&[("host", "http://u:hunter2@h"), ("queueName", "q")], "host"),
            (
                &[("host", "amqp://u:hunter2@h"), ("queueName", "q"), ("caCert", "x")],
                "caCert",
            ),
            (
                &[("host", "amqp://u:hunter2@h"), ("queueName", "q"), ("maxPriority", "x")],
                "maxPriority",
            ),
        ] {
            let context = OpenContext::new("c", "app", pairs.iter().copied().collect());
            let error = open(context).await.err().unwrap();
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert!(
                matches!(&error, OpenError::Metadata(error) if error.field == field),
                "{error}"
            );
        }
    }
}
