//! Calls to bindings over brokers, and an ear for their events.
//!
//! One idea: what is heard is passed on with the right to say what became of it, so that a test decides when an event is
//! handled. Must never handle one by itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use palladium_component::bindings::{Event, Listener, Operation};
use palladium_component::reply::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// What an application makes of an event.
pub type Handled = Result<Option<Bytes>, String>;

/// What an ear heard, and the right to say how it ended.
pub type Heard = mpsc::UnboundedReceiver<(Event, oneshot::Sender<Handled>)>;

struct Ear(mpsc::UnboundedSender<(Event, oneshot::Sender<Handled>)>);

impl Listener for Ear {
    fn event(&self, event: Event) -> BoxFuture<'static, Handled> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.0.send((event, sender));
        Box::pin(async { receiver.await.unwrap_or_else(|_| Err("nobody handled it".into())) })
    }
}

/// A listener, and what it hears.
pub fn ear() -> (Arc<dyn Listener>, Heard) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(Ear(sender)), receiver)
}

/// The operation that every broker has.
pub fn create(data: &str, metadata: &[(&str, &str)]) -> Operation {
    Operation {
        name: "create".into(),
        data: data.to_owned().into(),
        metadata: metadata
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    }
}

/// The next event.
///
/// # Panics
/// When none comes in time.
pub async fn next(heard: &mut Heard) -> (Event, oneshot::Sender<Handled>) {
    timeout(Duration::from_secs(60), heard.recv())
        .await
        .expect("an event in time")
        .unwrap()
}

/// No event comes for a moment.
///
/// # Panics
/// When one does.
pub async fn nothing(heard: &mut Heard) {
    // Whoever was told of them may be gone already.
    let came = timeout(Duration::from_millis(300), heard.recv()).await;
    assert!(matches!(came, Err(_) | Ok(None)));
}
