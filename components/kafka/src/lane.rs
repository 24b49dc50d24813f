//! One partition that this member has.
//!
//! One idea: records in order, one at a time: the next one is handed out when the one before is settled, so what may be
//! committed is one number. A record that was not handled is handed out again after a pause, from memory. Must never move that
//! number past a record that nobody said anything about.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use krafka::ConsumerRecord;
use krafka::consumer::Consumer;
use palladium_tasks::{Shutdown, Tasks};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::Ending;
use crate::again::Again;
use crate::routes::Routes;

/// A group's consumer, as soon as there is one.
pub(crate) type Membership = Arc<OnceLock<Weak<Consumer>>>;

/// What all lanes of a group share.
#[derive(Clone)]
pub(crate) struct Common {
    pub(crate) routes: Arc<Routes>,
    pub(crate) again: Option<Again>,
    /// Records that a lane reads ahead.
    pub(crate) ahead: usize,
    /// Rung when there is something to commit.
    pub(crate) bell: Arc<Notify>,
    pub(crate) membership: Membership,
}

/// What is in a lane.
#[derive(Default)]
struct State {
    records: Mutex<VecDeque<ConsumerRecord>>,
    arrived: Notify,
    count: AtomicUsize,
    bytes: AtomicUsize,
    /// Bytes that it may hold, as it was told last.
    share: AtomicUsize,
    paused: AtomicBool,
    /// A record is with a taker.
    busy: AtomicBool,
    /// The offset behind the last record that was settled; 0 when none was.
    next: AtomicI64,
}

impl State {
    /// Whether one that was full has room again.
    fn is_low(&self, ahead: usize) -> bool {
        let (count, held) = (self.count.load(Ordering::SeqCst), self.bytes.load(Ordering::SeqCst));
        count <= ahead / 2 && held <= self.share.load(Ordering::SeqCst) / 2
    }
}

/// A partition.
pub(crate) struct Lane {
    state: Arc<State>,
    stop: Shutdown,
    tasks: Tasks,
    /// What the cluster was told.
    pub(crate) committed: i64,
}

/// Bytes that a header takes beside its own.
const HEADER: usize = 64;

/// Bytes of a record.
fn size(record: &ConsumerRecord) -> usize {
    let text = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let beside: usize = record
        .headers
        .iter()
        .map(|(name, value)| HEADER + name.len() + text(value))
        .sum();
    text(&record.key) + text(&record.value) + beside
}

/// A record that does not hold on to the whole answer it came in.
fn apart(mut record: ConsumerRecord) -> ConsumerRecord {
    let copy = |bytes: Option<Bytes>| bytes.map(|bytes| Bytes::copy_from_slice(&bytes));
    record.key = copy(record.key);
    record.value = copy(record.value);
    for (_, value) in &mut record.headers {
        *value = copy(value.take());
    }
    record
}

impl Lane {
    pub(crate) fn start(topic: &str, partition: i32, common: Common) -> Self {
        let (state, stop) = (Arc::new(State::default()), Shutdown::new());
        let runner = Runner {
            state: state.clone(),
            stop: stop.clone(),
            topic: topic.to_owned(),
            partition,
            common,
        };
        let mut tasks = Tasks::new();
        tasks.spawn("kafka-partition", runner.run());
        Lane {
            state,
            stop,
            tasks,
            committed: 0,
        }
    }

    /// Takes one in; bounded because a lane that is full is paused before the next poll.
    pub(crate) fn push(&self, record: ConsumerRecord) {
        let record = apart(record);
        self.state.count.fetch_add(1, Ordering::SeqCst);
        self.state.bytes.fetch_add(size(&record), Ordering::SeqCst);
        let mut records = self.state.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.push_back(record);
        drop(records);
        self.state.arrived.notify_one();
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.state.busy.load(Ordering::SeqCst)
    }

    /// What may be committed, if anything.
    pub(crate) fn progress(&self) -> Option<i64> {
        let next = self.state.next.load(Ordering::SeqCst);
        (next > self.committed).then_some(next)
    }

    /// Whether it holds enough and is to be paused, or (the other way round) was paused and has room again.
    pub(crate) fn should_pause(&self, ahead: usize, bytes: usize) -> Option<bool> {
        self.state.share.store(bytes, Ordering::SeqCst);
        let (count, held) = (
            self.state.count.load(Ordering::SeqCst),
            self.state.bytes.load(Ordering::SeqCst),
        );
        let full = count >= ahead || held >= bytes;
        match self.state.paused.load(Ordering::SeqCst) {
            false if full => Some(true),
            true if self.state.is_low(ahead) => Some(false),
            _ => None,
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.state.paused.load(Ordering::SeqCst)
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.state.paused.store(paused, Ordering::SeqCst);
    }

    /// Hands nothing more out and waits for the record that is with a taker; gives back what may be committed.
    pub(crate) async fn end(mut self, within: Duration) -> Option<i64> {
        self.stop.trigger();
        let tasks = std::mem::take(&mut self.tasks);
        if tasks.drain(within).await.is_err() {
            tracing::debug!("a record was not settled in time and comes again");
        }
        self.progress()
    }
}

struct Runner {
    state: Arc<State>,
    stop: Shutdown,
    topic: String,
    partition: i32,
    common: Common,
}

impl Runner {
    async fn run(self) {
        while let Some(record) = self.stop.unless(self.next()).await {
            let bytes = size(&record);
            let settled = self.settle(&record).await;
            self.state.bytes.fetch_sub(bytes, Ordering::SeqCst);
            self.state.count.fetch_sub(1, Ordering::SeqCst);
            if !settled {
                return;
            }
            if self.state.is_low(self.common.ahead) && self.state.paused.swap(false, Ordering::SeqCst) {
                self.resume().await;
            }
        }
    }

    async fn next(&self) -> ConsumerRecord {
        loop {
            let record = {
                let mut records = self.state.records.lock().unwrap_or_else(PoisonError::into_inner);
                records.pop_front()
            };
            match record {
                Some(record) => return record,
                None => self.state.arrived.notified().await,
            }
        }
    }

    async fn resume(&self) {
        if let Some(consumer) = self.common.membership.get().and_then(Weak::upgrade) {
            consumer.resume(&self.topic, &[self.partition]).await;
        }
    }

    /// Until somebody has settled it; `false` when it is to stay as it is.
    async fn settle(&self, record: &ConsumerRecord) -> bool {
        let mut number = 0;
        loop {
            let Some(ending) = self.stop.unless(self.common.routes.hand_over(record)).await else {
                return false;
            };
            self.state.busy.store(true, Ordering::SeqCst);
            let ending = ending.await;
            self.state.busy.store(false, Ordering::SeqCst);
            number += 1;
            let pause = match (ending, &self.common.again) {
                (Ending::Done, _) => {
                    self.state.next.store(record.offset + 1, Ordering::SeqCst);
                    self.common.bell.notify_one();
                    return true;
                }
                (Ending::Failed, None) => {
                    // As with Dapr's driver: the next one that is handled is committed past it.
                    self.told(record, "was not handled and is not handed out again");
                    return true;
                }
                (Ending::Failed, Some(again)) => match again.pause(number) {
                    Some(pause) => pause,
                    None => {
                        self.told(record, "was not handled often enough and is given up");
                        return true;
                    }
                },
                (Ending::Unsaid, again) => {
                    let pause = again.as_ref().and_then(|again| again.pause(1));
                    pause.unwrap_or(Duration::from_secs(1))
                }
            };
            if self.stop.unless(sleep(pause)).await.is_none() {
                return false;
            }
        }
    }

    fn told(&self, record: &ConsumerRecord, what: &str) {
        let (topic, partition, offset) = (&self.topic, self.partition, record.offset);
        tracing::warn!(topic, partition, offset, "a message {what}");
    }
}

#[cfg(test)]
mod tests;
