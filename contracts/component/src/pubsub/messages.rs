//! What goes to a broker and what comes from it.
//!
//! One idea: a [`Delivery`] carries the right to settle its message, once; a delivery that is dropped unsettled leaves the
//! message with the broker. Must never show a message's data in `Debug`.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::PubsubError;

/// Names and values beside a message.
pub type Metadata = HashMap<String, String>;

/// One message on its way to the broker.
#[derive(Clone, Default)]
pub struct PublishRequest {
    /// Topic, as the broker knows it.
    pub topic: String,
    /// The message, opaque.
    pub data: Bytes,
    /// Names and values for the broker, or to travel beside the message.
    pub metadata: Metadata,
    /// Content type of the data, when it is not an envelope.
    pub content_type: Option<String>,
}

/// One of many messages on their way to the broker.
#[derive(Clone, Default)]
pub struct BulkEntry {
    /// Names the entry within its request.
    pub entry_id: String,
    /// The message, opaque.
    pub event: Bytes,
    /// Content type of the message.
    pub content_type: String,
    /// Names and values of this entry.
    pub metadata: Metadata,
}

/// Many messages on their way to the broker.
#[derive(Clone, Default)]
pub struct BulkPublishRequest {
    /// Topic, as the broker knows it.
    pub topic: String,
    /// The messages.
    pub entries: Vec<BulkEntry>,
    /// Names and values of the whole request.
    pub metadata: Metadata,
}

/// An entry that the broker did not take.
#[derive(Debug, Clone)]
pub struct BulkPublishFailure {
    /// Which.
    pub entry_id: String,
    /// Why.
    pub error: PubsubError,
}

/// What is to be received.
#[derive(Debug, Clone, Default)]
pub struct SubscribeRequest {
    /// Topic, as the broker knows it.
    pub topic: String,
    /// Names and values for the broker.
    pub metadata: Metadata,
}

/// One message that came from the broker.
#[derive(Clone, Default)]
pub struct Message {
    /// The topic it came by.
    pub topic: String,
    /// The message, opaque.
    pub data: Bytes,
    /// What travelled beside it.
    pub metadata: Metadata,
    /// Its content type, if the broker knows one.
    pub content_type: Option<String>,
}

macro_rules! debug_without_data {
    ($($type:ident { $($field:ident),+ }),+) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))$(.field(stringify!($field), &self.$field))+.finish_non_exhaustive()
            }
        }
    )+};
}
debug_without_data!(
    PublishRequest { topic },
    BulkEntry { entry_id },
    BulkPublishRequest { topic, entries },
    Message { topic }
);

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The message is done with.
    Done,
    /// It could not be handled: the broker may deliver it again, as its own rules are.
    Failed,
}

/// A message and the right to say, once, how it ended. Dropping it unsettled says nothing: the message stays pending.
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    settle: oneshot::Sender<Outcome>,
}

impl Delivery {
    /// Says how it ended.
    pub fn settle(self, outcome: Outcome) {
        // Nobody waits any more when the component was closed: the message then stays pending at the broker.
        let _ = self.settle.send(outcome);
    }

    /// The message, and the right to settle it, apart.
    pub fn into_parts(self) -> (Message, Settle) {
        (self.message, Settle(self.settle))
    }
}

/// The right to say how a delivery ended, apart from its message.
#[derive(Debug)]
pub struct Settle(oneshot::Sender<Outcome>);

impl Settle {
    /// Says how it ended.
    pub fn settle(self, outcome: Outcome) {
        let _ = self.0.send(outcome);
    }
}

/// The receiving end of a subscription.
#[derive(Debug)]
pub struct Subscription(mpsc::Receiver<Box<Delivery>>);

impl Subscription {
    /// The next message; `None` when the driver has ended the subscription.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.0.recv().await.map(|delivery| *delivery)
    }

    /// Takes no further message; those that were handed over already can still be received.
    pub fn stop(&mut self) {
        self.0.close();
    }
}

/// The driver's end of a subscription.
#[derive(Debug, Clone)]
pub struct Supply(mpsc::Sender<Box<Delivery>>);

/// What becomes of a delivery.
#[derive(Debug)]
pub struct Settled(oneshot::Receiver<Outcome>);

impl Settled {
    /// How it ended; `None` when nobody said so, and the message must stay pending.
    pub async fn outcome(self) -> Option<Outcome> {
        self.0.await.ok()
    }
}

/// Both ends of a subscription. At most `ahead` messages wait between them.
pub fn supply(ahead: usize) -> (Supply, Subscription) {
    let (sender, receiver) = mpsc::channel(ahead.max(1));
    (Supply(sender), Subscription(receiver))
}

impl Supply {
    /// Hands a message over, waiting for room; `None` when nobody receives any more.
    pub async fn deliver(&self, message: Message) -> Option<Settled> {
        let (settle, settled) = oneshot::channel();
        // A channel makes room for many at once, and most subscriptions are idle: the room is for pointers.
        self.0.send(Box::new(Delivery { message, settle })).await.ok()?;
        Some(Settled(settled))
    }

    /// Returns once nobody receives any more.
    pub async fn unwanted(&self) {
        self.0.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_settled_stays_pending() {
        let (supply, mut subscription) = supply(2);
        let first = supply.deliver(Message::default()).await.unwrap();
        let second = supply.deliver(Message::default()).await.unwrap();
        subscription.next().await.unwrap().settle(Outcome::Failed);
        drop(subscription.next().await.unwrap());
        assert_eq!(first.outcome().await, Some(Outcome::Failed));
        assert_eq!(second.outcome().await, None);
    }

    #[tokio::test]
    async fn a_stopped_subscription_gives_out_what_it_has() {
        let (supply, mut subscription) = supply(2);
        supply.deliver(Message::default()).await.unwrap();
        subscription.stop();
        assert!(supply.deliver(Message::default()).await.is_none());
        assert!(subscription.next().await.is_some() && subscription.next().await.is_none());
        supply.unwanted().await;
    }

    #[test]
    fn a_message_is_not_shown() {
        let message = Message {
            data: Bytes::from_static(b"secret"),
            ..Message::default()
        };
        assert!(!format!("{message:?}").contains("secret"));
    }
}
