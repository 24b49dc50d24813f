//! The partitions that this member of the group has.
//!
//! One idea: what a lane has settled is committed while its partition is ours, and only then: a partition is given up after the
//! record that is with a taker was settled (or time is over) and committed, and no commit is under way while that happens, for
//! one that comes late would take the next owner back. Must never commit for a partition that was lost.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use krafka::ConsumerRecord;
use krafka::consumer::{Consumer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::lane::{Common, Lane};
use crate::{ANSWER, Fault};

/// How long a record that is with a taker keeps a partition that is to go to another member. The others wait as long.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(10);
/// Bytes of records that are read ahead, in all lanes.
const BYTES: usize = 64 << 20;

type Key = (String, i32);
type Offsets = Vec<(TopicPartition, OffsetAndMetadata)>;

/// All lanes.
pub(crate) struct Lanes {
    common: Common,
    lanes: Mutex<HashMap<Key, Lane>>,
    /// Held while the cluster is told offsets.
    telling: tokio::sync::Mutex<()>,
    /// Whether the assignment is the group's last word; otherwise a round of joining may be under way.
    settled: AtomicBool,
    subscribed: Mutex<BTreeSet<String>>,
    joined: watch::Sender<BTreeSet<String>>,
    /// Whether a group without an offset begins at the end.
    newest: bool,
}

fn offset(topic: &str, partition: i32, next: i64) -> (TopicPartition, OffsetAndMetadata) {
    (TopicPartition::new(topic, partition), OffsetAndMetadata::new(next))
}

/// Lets go of what the library has fetched of a partition and not handed out: it is fetched again. While a partition is paused
/// this would take the room of the others, for ever if nobody settles the record that is with a taker.
async fn forget(consumer: &Consumer, topic: &str, partition: i32) {
    // In this order nothing is asked of the cluster: who has fetched knows where it is.
    let Some(fetched) = consumer.fetch_position(topic, partition).await else {
        return;
    };
    let Some(next) = consumer.position(topic, partition).await.filter(|next| *next < fetched) else {
        return;
    };
    if let Err(error) = consumer.seek(topic, partition, next).await {
        tracing::debug!(%error, "a partition was paused and is not ours any more");
    }
}

impl Lanes {
    pub(crate) fn new(common: Common, newest: bool, joined: watch::Sender<BTreeSet<String>>) -> Self {
        Lanes {
            common,
            lanes: Mutex::default(),
            telling: tokio::sync::Mutex::default(),
            settled: AtomicBool::new(false),
            subscribed: Mutex::default(),
            joined,
            newest,
        }
    }

    /// A panic under this lock leaves a map that is still whole.
    fn lanes(&self) -> MutexGuard<'_, HashMap<Key, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group is asked for these topics.
    pub(crate) fn subscribe(&self, topics: &BTreeSet<String>) {
        self.settled.store(false, Ordering::SeqCst);
        *self.subscribed.lock().unwrap_or_else(PoisonError::into_inner) = topics.clone();
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::SeqCst)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes().is_empty()
    }

    /// Whether a record of a topic is with a taker.
    pub(crate) fn is_busy(&self, topic: &str) -> bool {
        let lanes = self.lanes();
        lanes.iter().any(|((of, _), lane)| of == topic && lane.is_busy())
    }

    /// Takes in what was received.
    pub(crate) fn push(&self, records: Vec<ConsumerRecord>) {
        let lanes = self.lanes();
        for record in records {
            // Without a lane the partition is not ours any more.
            if let Some(lane) = lanes.get(&(record.topic.to_string(), record.partition)) {
                lane.push(record);
            }
        }
    }

    /// Has no more fetched for lanes that are full, and more for those that are not any longer.
    pub(crate) async fn balance(&self, consumer: &Consumer) {
        let turns: Vec<(Key, bool)> = {
            let lanes = self.lanes();
            let share = BYTES / lanes.len().max(1);
            let turn = |(key, lane): (&Key, &Lane)| {
                let pause = lane.should_pause(self.common.ahead, share)?;
                lane.set_paused(pause);
                Some((key.clone(), pause))
            };
            lanes.iter().filter_map(turn).collect()
        };
        for ((topic, partition), pause) in turns {
            match pause {
                true => {
                    consumer.pause(&topic, &[partition]).await;
                    forget(consumer, &topic, partition).await;
                }
                false => consumer.resume(&topic, &[partition]).await,
            }
            // It may have been worked off meanwhile, and nobody else would look at it again.
            let key = (topic, partition);
            let is_paused = {
                let lanes = self.lanes();
                lanes.get(&key).is_some_and(Lane::is_paused)
            };
            if pause && !is_paused {
                consumer.resume(&key.0, &[key.1]).await;
            }
        }
    }

    fn consumer(&self) -> Result<Arc<Consumer>, Fault> {
        let consumer = self.common.membership.get().and_then(Weak::upgrade);
        consumer.ok_or_else(|| Fault::Lost("there is no member of the group".into()))
    }

    async fn tell(&self, offsets: &Offsets, within: Duration) -> Result<(), Fault> {
        let consumer = self.consumer()?;
        let telling = consumer.commit_offsets(offsets.iter().map(|(partition, next)| (partition, next)));
        match timeout(within, telling).await {
            Ok(told) => Ok(told?),
            Err(_) => Err(Fault::Lost(format!("committing: no answer within {within:?}"))),
        }
    }

    /// Commits what was settled since.
    pub(crate) async fn commit(&self) -> Result<(), Fault> {
        let _telling = self.telling.lock().await;
        let offsets: Offsets = {
            let lanes = self.lanes();
            let found = lanes.iter();
            found
                .filter_map(|((topic, partition), lane)| Some(offset(topic, *partition, lane.progress()?)))
                .collect()
        };
        if offsets.is_empty() {
            return Ok(());
        }
        self.tell(&offsets, ANSWER).await?;
        let mut lanes = self.lanes();
        for (of, next) in offsets {
            if let Some(lane) = lanes.get_mut(&(of.topic, of.partition)) {
                lane.committed = next.offset;
            }
        }
        Ok(())
    }

    /// Gives partitions up (all when `None`). `within` is for records that are with takers, `answer` for the cluster: to end
    /// a commit that is under way, and to hear of the last one.
    pub(crate) async fn give_up(&self, partitions: Option<&[TopicPartition]>, within: Duration, answer: Duration) {
        if self.is_empty() {
            // Leaving tells the listener once more of what was given up before.
            return;
        }
        let telling = timeout(answer, self.telling.lock()).await;
        let gone: Vec<(Key, Lane)> = {
            let mut lanes = self.lanes();
            match partitions {
                None => lanes.drain().collect(),
                Some(partitions) => {
                    let keys = partitions.iter().map(|one| (one.topic.clone(), one.partition));
                    keys.filter_map(|key| lanes.remove_entry(&key)).collect()
                }
            }
        };
        if telling.is_err() {
            tracing::warn!("messages that were handled may come again: a commit is under way and is not answered");
            return;
        }
        let ends = gone.into_iter().map(async |((topic, partition), lane)| {
            let next = lane.end(within).await?;
            Some(offset(&topic, partition, next))
        });
        let offsets: Offsets = join_all(ends).await.into_iter().flatten().collect();
        if !offsets.is_empty()
            && let Err(fault) = self.tell(&offsets, answer).await
        {
            tracing::warn!("messages that were handled come again: {fault}");
        }
    }

    /// Writes down where this group begins, or a message that came before the first commit would be skipped by whoever
    /// begins at the end after this process was killed.
    async fn begin(&self, partitions: &[TopicPartition]) -> Result<(), Fault> {
        let consumer = self.consumer()?;
        let asked: Vec<(&str, i32)> = partitions
            .iter()
            .map(|one| (one.topic.as_str(), one.partition))
            .collect();
        let known = consumer.committed(&asked).await?;
        let mut offsets = Offsets::new();
        for one in partitions {
            if !known.contains_key(&(one.topic.clone(), one.partition))
                && let Some(position) = consumer.position(&one.topic, one.partition).await
            {
                offsets.push(offset(&one.topic, one.partition, position));
            }
        }
        match offsets.is_empty() {
            true => Ok(()),
            false => self.tell(&offsets, ANSWER).await,
        }
    }
}

impl ConsumerRebalanceListener for Lanes {
    async fn on_partitions_assigned(&self, partitions: &[TopicPartition]) {
        {
            let mut lanes = self.lanes();
            for one in partitions {
                let lane = Lane::start(&one.topic, one.partition, self.common.clone());
                lanes.insert((one.topic.clone(), one.partition), lane);
            }
        }
        if self.newest && !partitions.is_empty() {
            match timeout(ANSWER, self.begin(partitions)).await {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => tracing::warn!("where the group begins is not written down: {fault}"),
                Err(_) => tracing::warn!("where the group begins is not written down: no answer in time"),
            }
        }
        self.settled.store(true, Ordering::SeqCst);
        let subscribed = self.subscribed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.joined.send_replace(subscribed);
    }

    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        self.settled.store(false, Ordering::SeqCst);
        self.give_up(Some(partitions), GIVE_UP, ANSWER).await;
    }

    async fn on_partitions_lost(&self, partitions: &[TopicPartition]) {
        self.settled.store(false, Ordering::SeqCst);
        let mut lanes = self.lanes();
        for one in partitions {
            lanes.remove(&(one.topic.clone(), one.partition));
        }
    }
}
