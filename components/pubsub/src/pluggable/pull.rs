//! One subscription at a component in another process: a stream of messages one way, of acknowledgements the other.
//!
//! One idea: one message at a time; the next one is looked at when this one is settled and its word is sent. Must never
//! give up while somebody receives: a lost stream is opened again, later and later.

use std::pin::Pin;
use std::time::Duration;

use palladium_component::pubsub::{Message, Outcome, Supply};
use palladium_components_pluggable::HEADER;
use palladium_proto::components as pb;
use palladium_tasks::{Backoff, Shutdown};
use pb::pub_sub_client::PubSubClient;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

/// How long the other side may take to end a stream that is wanted no more.
const GOODBYE: Duration = Duration::from_millis(500);

pub(super) struct Pull {
    pub(super) client: PubSubClient<Channel>,
    pub(super) instance: MetadataValue<Ascii>,
    pub(super) topic: pb::Topic,
}

impl Pull {
    /// Until nobody receives any more.
    pub(super) async fn run(mut self, supply: Supply, stop: Shutdown) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        loop {
            let unwanted = async {
                tokio::select! {
                    () = supply.unwanted() => {}
                    () = stop.wait() => {}
                }
            };
            tokio::pin!(unwanted);
            let Some(ended) = self.stream(&supply, unwanted.as_mut(), &mut backoff).await else {
                return;
            };
            let topic = &self.topic.name;
            match ended {
                Ok(()) => tracing::warn!(topic, "the component ended a subscription"),
                Err(status) => tracing::error!(topic, %status, "Failed to receive pubsub message"),
            }
            tokio::select! {
                () = &mut unwanted => return,
                () = sleep(backoff.next_delay()) => {}
            }
        }
    }

    /// One stream to its end; `None` when nobody receives any more. What was handed over by then is still settled.
    async fn stream(
        &mut self,
        supply: &Supply,
        mut unwanted: Pin<&mut impl Future<Output = ()>>,
        backoff: &mut Backoff,
    ) -> Option<Result<(), Status>> {
        let (words, receiver) = mpsc::channel(2);
        let first = pb::PullMessagesRequest {
            topic: Some(self.topic.clone()),
            ..pb::PullMessagesRequest::default()
        };
        // There is room, and the other end lives.
        let _ = words.try_send(first);
        let mut request = Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert(HEADER, self.instance.clone());
        let opened = tokio::select! {
            biased;
            () = &mut unwanted => return None,
            opened = self.client.pull_messages(request) => opened,
        };
        let mut messages = match opened {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Some(Err(status)),
        };
        loop {
            let message = tokio::select! {
                biased;
                () = &mut unwanted => break,
                message = messages.message() => message,
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return Some(Ok(())),
                Err(status) => return Some(Err(status)),
            };
            backoff.reset();
            let id = message.id.clone();
            let Some(settled) = supply.deliver(received(message)).await else {
                break;
            };
            let ack_error = match settled.outcome().await {
                Some(Outcome::Done) => None,
                Some(Outcome::Failed) => Some(pb::AckMessageError {
                    message: "the message was not handled".to_owned(),
                }),
                None => continue,
            };
            let word = pb::PullMessagesRequest {
                topic: None,
                ack_message_id: id,
                ack_error,
            };
            if words.send(word).await.is_err() {
                return Some(Err(Status::unavailable("the stream is lost")));
            }
        }
        // The last word is on its way; what comes now is for somebody else.
        drop(words);
        let rest = async { while let Ok(Some(_)) = messages.message().await {} };
        let _ = timeout(GOODBYE, rest).await;
        None
    }
}

fn received(message: pb::PullMessagesResponse) -> Message {
    Message {
        topic: message.topic_name,
        data: message.data,
        metadata: message.metadata,
        content_type: Some(message.content_type).filter(|kind| !kind.is_empty()),
    }
}
