//! One subscription: records become messages, and what the application said about them becomes their end.
//!
//! Must never take silence for an answer.

use std::sync::Arc;

use palladium_component::pubsub::{Message, Outcome, Supply};
use palladium_component::reply::BoxFuture;
use palladium_components_kafka::{ConsumerRecord, Ending, Headers, Taker, data};

pub(super) struct Receiver {
    pub(super) supply: Supply,
    pub(super) headers: Arc<Headers>,
}

impl Taker for Receiver {
    fn take<'a>(&'a self, record: &'a ConsumerRecord) -> BoxFuture<'a, Option<BoxFuture<'static, Ending>>> {
        Box::pin(async {
            let message = Message {
                topic: record.topic.to_string(),
                data: data(record),
                metadata: self.headers.metadata(record),
                content_type: None,
            };
            let settled = self.supply.deliver(message).await?;
            let ending: BoxFuture<'static, Ending> = Box::pin(async {
                match settled.outcome().await {
                    Some(Outcome::Done) => Ending::Done,
                    Some(Outcome::Failed) => Ending::Failed,
                    None => Ending::Unsaid,
                }
            });
            Some(ending)
        })
    }

    fn unwanted(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.supply.unwanted())
    }
}
