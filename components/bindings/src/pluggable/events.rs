//! Events of a binding in another process: a stream of events one way, of what became of them the other.
//!
//! One idea: one event at a time, answered by its id. Must never give up while somebody listens: a lost stream is opened
//! again, later and later.

use std::sync::Arc;
use std::time::Duration;

use palladium_component::bindings::{Event, Listener};
use palladium_proto::components as pb;
use palladium_tasks::Backoff;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Remote;

/// Until it is dropped.
pub(super) async fn follow(remote: Remote, listener: Arc<dyn Listener>) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        match stream(&remote, &*listener, &mut backoff).await {
            Ok(()) => tracing::warn!("the component ended its events"),
            Err(status) => tracing::error!(%status, "a binding's events cannot be read"),
        }
        sleep(backoff.next_delay()).await;
    }
}

async fn stream(remote: &Remote, listener: &dyn Listener, backoff: &mut Backoff) -> Result<(), Status> {
    let (words, receiver) = mpsc::channel(2);
    let request = remote.request(ReceiverStream::new(receiver));
    let mut events = remote.input().read(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        backoff.reset();
        let message_id = event.message_id;
        let handled = listener.event(Event {
            data: event.data,
            metadata: event.metadata,
            content_type: event.content_type,
        });
        let word = match handled.await {
            Ok(data) => pb::ReadRequest {
                response_data: data.unwrap_or_default(),
                message_id,
                response_error: None,
            },
            Err(message) => pb::ReadRequest {
                message_id,
                response_error: Some(pb::AckResponseError { message }),
                ..pb::ReadRequest::default()
            },
        };
        if words.send(word).await.is_err() {
            return Err(Status::unavailable("the stream is lost"));
        }
    }
    Ok(())
}
