//! The contract of a publish/subscribe driver.
//!
//! The one idea: a subscription is a queue that the driver fills and somebody above empties, one [`Delivery`] at a time;
//! each delivery is settled once, and only a settled one is acknowledged to the broker. How many are under way at a time
//! is the driver's decision: it hands out no more before enough of them are settled. A driver must never look into a
//! message's data, know of applications or topics' permissions, or drop a message that was not settled.

mod features;
mod messages;

pub use features::{Feature, Features};
pub use messages::{
    BulkEntry, BulkPublishFailure, BulkPublishRequest, Delivery, Message, Metadata, Outcome, PublishRequest, Settle,
    Settled, SubscribeRequest, Subscription, Supply, supply,
};

use thiserror::Error;

use crate::error::{CallError, RemoteError};
use crate::{Driver, Reply};

/// A registered publish/subscribe driver.
pub type PubsubDriver = Driver<dyn PubSub>;

/// One opened publish/subscribe component. All calls may run side by side.
pub trait PubSub: Send + Sync + 'static {
    /// What it can do. Constant for the life of the component.
    fn features(&self) -> Features;

    /// Hands one message to the broker. Acknowledged only when the broker has it, as durable as the broker makes it.
    fn publish<'a>(&'a self, request: &'a PublishRequest) -> Reply<'a, (), PubsubError>;

    /// Hands many messages to the broker, each on its own, and says which failed. Called only when the component has
    /// [`Feature::BulkPublish`].
    fn bulk_publish<'a>(&'a self, _: &'a BulkPublishRequest) -> Reply<'a, Vec<BulkPublishFailure>, PubsubError> {
        Reply::ready(Err(PubsubError::NotSupported(
            "this component does not publish in bulk".into(),
        )))
    }

    /// Begins to receive what is published to a topic. Ends when the subscription is dropped; what was delivered by then
    /// may still be settled.
    fn subscribe(&self, request: SubscribeRequest) -> Reply<'_, Subscription, PubsubError>;

    /// Asks whoever hands out messages to hand out no more, before all subscriptions end with the process; what is under way
    /// is still settled. A component without such a call has nothing to do.
    fn pause(&self) -> Reply<'_, (), PubsubError> {
        Reply::ready(Ok(()))
    }

    /// Whether the broker answers.
    fn ping(&self) -> Reply<'_, (), PubsubError> {
        Reply::ready(Ok(()))
    }

    /// Ends connections and tasks. No call follows.
    fn close(&self) -> Reply<'_, (), PubsubError>;
}

/// Failure of one call to a publish/subscribe component.
#[derive(Debug, Clone, Error)]
pub enum PubsubError {
    /// The component has no such operation.
    #[error("{0}")]
    NotSupported(String),
    /// The request itself is wrong. Repeating it cannot help.
    #[error("{0}")]
    Invalid(String),
    /// The component was closed.
    #[error("component is closed")]
    Closed,
    /// The component lives in another process, which answered with an error of its own.
    #[error("{0}")]
    Remote(Box<RemoteError>),
    /// The broker could not be reached or did not answer in time. Whether it has the message is unknown.
    #[error("{0}")]
    Unavailable(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// For drivers that share a client with another building block.
impl From<CallError> for PubsubError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotSupported(words) => Self::NotSupported(words),
            CallError::Invalid(words) => Self::Invalid(words),
            CallError::Remote(error) => Self::Remote(error),
            CallError::Unavailable(words) => Self::Unavailable(words),
            CallError::Other(words) => Self::Other(words),
        }
    }
}
