//! `bindings.kafka`: topics of a Kafka cluster, both ways.
//!
//! The one idea: `create` puts a record into one topic and is done when the cluster has it, with the call's metadata as headers;
//! each record of the listened topics is an event, one of a partition at a time. As with Dapr's driver, an event that was not
//! handled is left behind unless `consumeRetryEnabled` is set. Must never commit past an event that is still being handled.

mod events;

use std::sync::Arc;

use futures_util::TryFutureExt as _;
use palladium_component::bindings::{
    Answer, Binding, BindingDriver, BindingError, Listener, Listening, Operation, Ways,
};
use palladium_component::metadata::FieldSpec;
use palladium_component::{CallError, ComponentMetadata, Hosted, MetadataError, OpenContext, OpenError, Reply, Status};
use palladium_components_kafka::{Fault, Headers, Intake, KafkaMetadata, Outlet, Settings};
use palladium_tasks::Shutdown;

use crate::until::{Until, closed};
use events::Events;

/// The driver.
pub const DRIVER: BindingDriver = BindingDriver {
    type_name: "bindings.kafka",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// How its messages begin.
const WHAT: &str = "kafka binding";

/// What a component says beside what every one on Kafka says.
#[derive(Debug, ComponentMetadata)]
struct Topics {
    /// Topics whose records are events, with commas between.
    topics: Option<String>,
    /// Consumer group where consumerGroup names none; the App ID when absent.
    #[metadata(name = "consumerID")]
    consumer_id: Option<String>,
    /// The topic that 'create' puts records into.
    publish_topic: Option<String>,
}

fn fields() -> Vec<FieldSpec> {
    KafkaMetadata::fields().into_iter().chain(Topics::fields()).collect()
}

async fn open(context: OpenContext) -> Result<Arc<dyn Binding>, OpenError> {
    let metadata = KafkaMetadata::parse(&context.properties)?;
    let said = Topics::parse(&context.properties)?;
    let topics = said.topics.unwrap_or_default();
    let topics = topics.split(',').map(str::trim).filter(|topic| !topic.is_empty());
    let topics: Vec<String> = topics.map(str::to_owned).collect();
    let publish_topic = said.publish_topic.unwrap_or_default().trim().to_owned();
    if topics.is_empty() && publish_topic.is_empty() {
        let reason = "neither they nor a publishTopic are named";
        return Err(MetadataError::new("topics", reason, "name topics to listen to, a publishTopic, or both").into());
    }
    let settings = Settings::read(&metadata, said.consumer_id.as_deref(), &context, false).await?;
    let outlet = Outlet::open(&settings.reach, &settings.writing).await;
    let outlet = outlet.map_err(|fault| OpenError::Unavailable(format!("{WHAT}: {fault}")))?;
    Ok(Arc::new(Kafka {
        outlet,
        intake: Intake::new(settings.reach, settings.reading),
        headers: Arc::new(settings.headers),
        topics,
        publish_topic,
        stop: Shutdown::new(),
    }))
}

struct Kafka {
    outlet: Outlet,
    intake: Intake,
    headers: Arc<Headers>,
    topics: Vec<String>,
    publish_topic: String,
    stop: Shutdown,
}

impl Kafka {
    async fn create(&self, operation: &Operation) -> Result<Answer, Fault> {
        let record = self
            .headers
            .record(&self.publish_topic, operation.data.clone(), &operation.metadata)?;
        self.outlet.send(record).await?;
        Ok(Answer::default())
    }

    async fn receive(&self, listener: Arc<dyn Listener>) -> Result<Listening, Fault> {
        let stop = self.stop.child();
        // First, so that events end when this call is given up.
        let until = Until(stop.clone());
        let events = Events {
            listener,
            headers: self.headers.clone(),
            stop,
        };
        self.intake.add(&self.topics, Arc::new(events)).await?;
        Ok(Box::new(until))
    }
}

impl Binding for Kafka {
    fn ways(&self) -> Ways {
        Ways {
            out: !self.publish_topic.is_empty(),
            into: !self.topics.is_empty(),
        }
    }

    fn operations(&self) -> Vec<String> {
        match self.publish_topic.is_empty() {
            true => Vec::new(),
            false => vec!["create".to_owned()],
        }
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
        Reply::wait(async {
            tokio::join!(self.intake.close(), self.outlet.close());
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
        let plain = [("brokers", "127.0.0.1:1"), ("authType", "none")];
        for (pairs, field) in [
            (&[("topics", " , ")][..], "topics"),
            (&[("publishTopic", "t"), ("compression", "zstd")], "compression"),
            (
                &[("topics", "t"), ("authType", "oidc"), ("oidcClientSecret", "hunter2")],
                "authType",
            ),
        ] {
            let all = plain.iter().chain(pairs).copied().collect();
            let error = open(OpenContext::new("c", "app", all)).await.err().unwrap();
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert!(
                matches!(&error, OpenError::Metadata(error) if error.field == field),
                "{error}"
            );
        }
        let names: Vec<_> = fields().into_iter().map(|field| field.name).collect();
        for name in ["publishTopic", "brokers", "consumerID", "backOffDuration"] {
            assert!(names.contains(&name), "{name}");
        }
    }
}
