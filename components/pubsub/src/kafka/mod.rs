//! `pubsub.kafka`: topics of a Kafka cluster, in the layout of Dapr's own driver, so that daprd and this driver can share topics
//! and consumer groups.
//!
//! The one idea: those who receive under one name are one consumer group; a partition's messages come in order, one at a time,
//! and what is committed are offsets up to which the application has settled everything. Unlike with Dapr 1.18, a group that
//! begins at the end writes that down at once, so that a message which came before the first commit is not skipped after a
//! crash. Must never commit past a message that nobody settled.

mod receive;

use std::sync::Arc;

use palladium_component::pubsub::{
    BulkPublishFailure, BulkPublishRequest, Feature, Features, PubSub, PublishRequest, SubscribeRequest, Subscription,
    supply,
};
use palladium_component::{
    ComponentMetadata as _, Hosted, OpenContext, OpenError, PubsubDriver, PubsubError, Reply, Status,
};
use palladium_components_kafka::{Fault, Headers, Intake, KafkaMetadata, Outlet, Settings, refuse_schemas};
use palladium_tasks::Shutdown;

use crate::common::PubsubMetadata;
use receive::Receiver;

/// The driver.
pub const DRIVER: PubsubDriver = PubsubDriver {
    type_name: "pubsub.kafka",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: KafkaMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// How messages about what was not published begin.
const PUBLISHING: &str = "kafka pub/sub: error from publish";
/// Messages that wait for the engine, of one subscription; a partition never has more than one of them.
const AHEAD: usize = 16;

async fn open(context: OpenContext) -> Result<Arc<dyn PubSub>, OpenError> {
    let metadata = KafkaMetadata::parse(&context.properties)?;
    let common = PubsubMetadata::parse(&context.properties)?;
    let settings = Settings::read(&metadata, common.consumer_id.as_deref(), &context, true).await?;
    let outlet = Outlet::open(&settings.reach, &settings.writing).await;
    let outlet = outlet.map_err(|fault| OpenError::Unavailable(format!("kafka pub/sub: {fault}")))?;
    Ok(Arc::new(Bus {
        outlet,
        intake: Intake::new(settings.reach, settings.reading),
        headers: Arc::new(settings.headers),
        stop: Shutdown::new(),
    }))
}

struct Bus {
    outlet: Outlet,
    intake: Intake,
    headers: Arc<Headers>,
    stop: Shutdown,
}

impl Bus {
    async fn send(&self, request: &PublishRequest) -> Result<(), Fault> {
        let record = self
            .headers
            .record(&request.topic, request.data.clone(), &request.metadata)?;
        self.outlet.send(record).await
    }

    async fn send_all(&self, request: &BulkPublishRequest) -> Result<Vec<BulkPublishFailure>, Fault> {
        let records = request.entries.iter().map(|entry| {
            let mut metadata = entry.metadata.clone();
            // As with Dapr's driver: what is said about all of them counts more.
            metadata.extend(request.metadata.clone());
            self.headers.record(&request.topic, entry.event.clone(), &metadata)
        });
        let records = records.collect::<Result<Vec<_>, _>>()?;
        let ends = self.outlet.send_all(records).await;
        let failures = request.entries.iter().zip(ends).filter_map(|(entry, end)| {
            Some(BulkPublishFailure {
                entry_id: entry.entry_id.clone(),
                error: end.err()?.call(PUBLISHING).into(),
            })
        });
        Ok(failures.collect())
    }

    async fn receive(&self, request: SubscribeRequest) -> Result<Subscription, Fault> {
        refuse_schemas(&request.metadata)?;
        let (supply, subscription) = supply(AHEAD);
        let receiver = Receiver {
            supply,
            headers: self.headers.clone(),
        };
        self.intake.add(&[request.topic], Arc::new(receiver)).await?;
        Ok(subscription)
    }

    /// Unless it is closed meanwhile; `what` says what failed otherwise.
    async fn unless_closed<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, PubsubError> {
        let work = async { work.await.map_err(|fault| fault.call(what).into()) };
        self.stop.try_unless(work, || PubsubError::Closed).await
    }
}

impl PubSub for Bus {
    fn features(&self) -> Features {
        // A partition's next message is handed out when the one before is settled.
        Features::NONE
            .with(Feature::BulkPublish)
            .with(Feature::BulkSubscribeImmediate)
    }

    fn publish<'a>(&'a self, request: &'a PublishRequest) -> Reply<'a, (), PubsubError> {
        Reply::wait(self.unless_closed(PUBLISHING, self.send(request)))
    }

    fn bulk_publish<'a>(&'a self, request: &'a BulkPublishRequest) -> Reply<'a, Vec<BulkPublishFailure>, PubsubError> {
        Reply::wait(self.unless_closed(PUBLISHING, self.send_all(request)))
    }

    fn subscribe(&self, request: SubscribeRequest) -> Reply<'_, Subscription, PubsubError> {
        Reply::wait(self.unless_closed("kafka pub/sub: error from subscribe", self.receive(request)))
    }

    fn pause(&self) -> Reply<'_, (), PubsubError> {
        self.intake.pause();
        Reply::ready(Ok(()))
    }

    fn ping(&self) -> Reply<'_, (), PubsubError> {
        Reply::wait(self.unless_closed("kafka pub/sub: error from ping", self.outlet.ping()))
    }

    fn close(&self) -> Reply<'_, (), PubsubError> {
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
    async fn a_cluster_that_is_not_there_is_said_without_secrets() {
        palladium_tls::install_crypto_provider();
        let pairs = [
            ("brokers", "127.0.0.1:1"),
            ("authType", "password"),
            ("saslUsername", "u"),
            ("saslPassword", "hunter2"),
            ("disableTls", "true"),
        ];
        let context = OpenContext::new("c", "app", pairs.into_iter().collect());
        let error = open(context).await.err().unwrap();
        assert!(matches!(&error, OpenError::Unavailable(_)));
        let error = error.to_string();
        assert!(error.contains("127.0.0.1:1") && !error.contains("hunter2"), "{error}");
    }
}
