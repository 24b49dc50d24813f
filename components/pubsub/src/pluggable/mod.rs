//! Publish/subscribe of the user's own, in processes beside the Dapr Server, over `dapr.proto.components.v1`.
//!
//! The one idea: a socket whose server has the publish/subscribe service is the component type `pubsub.<name of the
//! socket>`. As in Dapr, messages of one subscription come one after the other; unlike there, a stream that is lost is
//! opened again. Must never acknowledge a message that was not settled.

mod pull;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use palladium_component::error::RemoteError;
use palladium_component::pubsub::{
    BulkPublishFailure, BulkPublishRequest, Feature, Features, PubSub, PublishRequest, SubscribeRequest, Subscription,
    supply,
};
use palladium_component::{OpenContext, OpenError, PubsubError, Reply};
use palladium_components_pluggable::{Found, HEADER};
use palladium_proto::components as pb;
use palladium_tasks::{Shutdown, Tasks};
use pb::pub_sub_client::PubSubClient;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// The service that makes a socket publish/subscribe.
const SERVICE: &str = "dapr.proto.components.v1.PubSub";
/// Greatest message in either direction.
const MAX_MESSAGE: usize = 256 << 20;
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens a component of a type that no driver has, if one of the sockets is meant.
pub async fn open(
    found: &[Found],
    type_name: &str,
    context: OpenContext,
) -> Option<Result<Arc<dyn PubSub>, OpenError>> {
    let found = found.iter().find(|found| found.is("pubsub.", SERVICE, type_name))?;
    Some(on_socket(found, context).await)
}

async fn on_socket(found: &Found, context: OpenContext) -> Result<Arc<dyn PubSub>, OpenError> {
    let instance = context
        .component
        .parse()
        .map_err(|_| OpenError::NotAllowed(format!("component name {:?} is not printable ASCII", context.component)))?;
    let mut remote = Remote {
        name: context.component,
        channel: found.socket.channel(),
        instance,
        features: Features::NONE,
        stop: Shutdown::new(),
        tasks: Mutex::default(),
    };
    let mut properties: std::collections::HashMap<String, String> = context
        .properties
        .expose()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    // Whoever says nothing receives under its App ID.
    if context
        .properties
        .get("consumerID")
        .is_none_or(|consumer| consumer.trim().is_empty())
    {
        properties.insert("consumerID".to_owned(), context.app_id);
    }
    let init = pb::PubSubInitRequest {
        metadata: Some(pb::MetadataRequest { properties }),
    };
    let unavailable = |error: PubsubError| OpenError::Unavailable(error.to_string());
    remote
        .call(init, |mut client, request| async move { client.init(request).await })
        .await
        .map_err(unavailable)?;
    let known = remote.call(pb::FeaturesRequest {}, |mut client, request| async move {
        client.features(request).await
    });
    let known = known.await.map_err(unavailable)?.features;
    let known = known.iter().filter_map(|name| Feature::from_name(name));
    remote.features = known.fold(Features::NONE, Features::with);
    Ok(Arc::new(remote))
}

struct Remote {
    name: String,
    channel: Channel,
    instance: MetadataValue<Ascii>,
    features: Features,
    stop: Shutdown,
    tasks: Mutex<Tasks>,
}

impl Remote {
    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(HEADER, self.instance.clone());
        request
    }

    fn client(&self) -> PubSubClient<Channel> {
        let client = PubSubClient::new(self.channel.clone());
        client
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    async fn call<M, R, F>(
        &self,
        message: M,
        send: impl FnOnce(PubSubClient<Channel>, Request<M>) -> F,
    ) -> Result<R, PubsubError>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        match timeout(CALL_TIMEOUT, send(self.client(), self.request(message))).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(to_error(&status)),
            Err(_) => Err(PubsubError::Unavailable(
                "the component did not answer in time".to_owned(),
            )),
        }
    }
}

fn to_error(status: &Status) -> PubsubError {
    let remote = RemoteError {
        grpc_code: status.code() as u32,
        message: status.message().to_owned(),
        answer: None,
    };
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => PubsubError::Unavailable(remote.to_string()),
        _ => PubsubError::Remote(Box::new(remote)),
    }
}

impl PubSub for Remote {
    fn features(&self) -> Features {
        self.features
    }

    fn publish<'a>(&'a self, request: &'a PublishRequest) -> Reply<'a, (), PubsubError> {
        let message = pb::PublishRequest {
            data: request.data.clone(),
            pubsub_name: self.name.clone(),
            topic: request.topic.clone(),
            metadata: request.metadata.clone(),
            content_type: request.content_type.clone().unwrap_or_default(),
        };
        Reply::wait(async move {
            let published = self.call(
                message,
                |mut client, request| async move { client.publish(request).await },
            );
            published.await.map(|_| ())
        })
    }

    fn bulk_publish<'a>(&'a self, request: &'a BulkPublishRequest) -> Reply<'a, Vec<BulkPublishFailure>, PubsubError> {
        let entries = request.entries.iter().map(|entry| pb::BulkMessageEntry {
            entry_id: entry.entry_id.clone(),
            event: entry.event.clone(),
            content_type: entry.content_type.clone(),
            metadata: entry.metadata.clone(),
        });
        let message = pb::BulkPublishRequest {
            entries: entries.collect(),
            pubsub_name: self.name.clone(),
            topic: request.topic.clone(),
            metadata: request.metadata.clone(),
        };
        Reply::wait(async move {
            let published = self.call(message, |mut client, request| async move {
                client.bulk_publish(request).await
            });
            let failed = published.await?.failed_entries.into_iter();
            Ok(failed
                .map(|entry| BulkPublishFailure {
                    entry_id: entry.entry_id,
                    error: PubsubError::Other(entry.error),
                })
                .collect())
        })
    }

    fn subscribe(&self, request: SubscribeRequest) -> Reply<'_, Subscription, PubsubError> {
        if self.stop.is_triggered() {
            return Reply::ready(Err(PubsubError::Closed));
        }
        let (supply, subscription) = supply(1);
        let topic = pb::Topic {
            name: request.topic,
            metadata: request.metadata,
        };
        let pull = pull::Pull {
            client: self.client(),
            instance: self.instance.clone(),
            topic,
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn("pubsub-pluggable", pull.run(supply, self.stop.clone()));
        Reply::ready(Ok(subscription))
    }

    fn pause(&self) -> Reply<'_, (), PubsubError> {
        Reply::wait(async {
            let paused = self.call(pb::PauseRequest {}, |mut client, request| async move {
                client.pause(request).await
            });
            match paused.await {
                // Most components know no such call.
                Err(PubsubError::Remote(remote)) if remote.grpc_code == Code::Unimplemented as u32 => Ok(()),
                paused => paused.map(|_| ()),
            }
        })
    }

    fn ping(&self) -> Reply<'_, (), PubsubError> {
        Reply::wait(async {
            let answer = self.call(pb::PingRequest {}, |mut client, request| async move {
                client.ping(request).await
            });
            answer.await.map(|_| ())
        })
    }

    fn close(&self) -> Reply<'_, (), PubsubError> {
        self.stop.trigger();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        Reply::wait(async move {
            // What is still under way was not acknowledged: the other process keeps it.
            let _ = tasks.drain(Duration::from_secs(1)).await;
            Ok(())
        })
    }
}
