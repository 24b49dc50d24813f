//! Gathers messages of a subscription into batches.
//!
//! One idea: the time of a batch starts with its first message. Where messages come one after the other (the component
//! says so), waiting for more is in vain: then a batch is what is there. Must never hold a batch longer than its time.

use std::time::Duration;

use futures_util::FutureExt as _;
use palladium_component::pubsub::{Delivery, Subscription};
use palladium_tasks::Shutdown;
use tokio::time::{Instant, timeout_at};

use crate::Batching;

const MAX_MESSAGES: usize = 100;
const MAX_AWAIT: Duration = Duration::from_secs(1);

pub(crate) struct Batches {
    subscription: Subscription,
    max: usize,
    wait: Duration,
    immediate: bool,
}

impl Batches {
    pub(crate) fn new(subscription: Subscription, batching: Batching, immediate: bool) -> Self {
        let wait = Duration::from_millis(batching.max_await_ms);
        Batches {
            subscription,
            max: Some(batching.max_messages)
                .filter(|max| *max > 0)
                .unwrap_or(MAX_MESSAGES),
            wait: Some(wait).filter(|wait| !wait.is_zero()).unwrap_or(MAX_AWAIT),
            immediate,
        }
    }

    /// The next batch, never empty; `None` at the end or at `stop`. What was gathered by then is still given out.
    pub(crate) async fn next(&mut self, stop: &Shutdown) -> Option<Vec<Delivery>> {
        let first = stop.unless(self.subscription.next()).await??;
        let end = Instant::now() + self.wait;
        let mut batch = vec![first];
        while batch.len() < self.max {
            let next = if self.immediate {
                self.subscription.next().now_or_never()
            } else {
                let next = timeout_at(end, self.subscription.next());
                stop.unless(next).await.and_then(Result::ok)
            };
            match next.flatten() {
                Some(delivery) => batch.push(delivery),
                None => break,
            }
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use palladium_component::pubsub::{Message, supply};

    use super::*;

    async fn batches(max: usize, wait_ms: u64, immediate: bool, count: usize) -> Batches {
        let (supply, subscription) = supply(10);
        for _ in 0..count {
            supply.deliver(Message::default()).await.unwrap();
        }
        // The driver's end lives on.
        tokio::spawn(async move { supply.unwanted().await });
        let batching = Batching {
            max_messages: max,
            max_await_ms: wait_ms,
        };
        Batches::new(subscription, batching, immediate)
    }

    #[tokio::test(start_paused = true)]
    async fn full_or_over_time() {
        let start = Instant::now();
        let mut batches = batches(2, 200, false, 3).await;
        let stop = Shutdown::new();
        assert_eq!(batches.next(&stop).await.unwrap().len(), 2);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(batches.next(&stop).await.unwrap().len(), 1);
        assert!(start.elapsed() >= Duration::from_millis(200));
        stop.trigger();
        assert!(batches.next(&stop).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_when_waiting_is_in_vain() {
        let start = Instant::now();
        let mut batches = batches(0, 0, true, 3).await;
        assert_eq!(batches.next(&Shutdown::new()).await.unwrap().len(), 3);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
