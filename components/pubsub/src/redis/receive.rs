//! Receiving from one stream: new messages, and those that nobody has acknowledged.
//!
//! One idea: two loops feed one queue, one waits for what is new, one looks now and then for what was left; both hand a
//! message over only when it has a place and room among those under way, and read no more at a time than there is room for,
//! as far as sizes can be foreseen. A message that this subscription still holds is not taken again. Must never acknowledge a message that failed or was not settled.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::ConnectionManager;
use ::redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use ::redis::{RedisError, Value, cmd};
use palladium_component::pubsub::{Message, Outcome, Supply};
use palladium_tasks::{Backoff, Shutdown, Tasks};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Settings;
use crate::room::Room;

/// How long one wait for new messages takes at the server.
pub(super) const BLOCK: Duration = Duration::from_secs(2);
/// How long messages under way may take after the subscription has ended.
const DRAIN: Duration = Duration::from_secs(30);

/// A consumer group of one stream.
pub(super) struct Group {
    pub(super) topic: String,
    pub(super) settings: Arc<Settings>,
    pub(super) connection: ConnectionManager,
    pub(super) places: Arc<Semaphore>,
    pub(super) room: Room,
    /// Ids of the messages that this subscription has and that are not over time.
    pub(super) held: Mutex<HashSet<String>>,
}

impl Group {
    /// Makes the group, and the stream, unless they are there. It begins with what the stream already has.
    pub(super) async fn create(&self) -> Result<(), RedisError> {
        let mut create = cmd("XGROUP");
        create
            .arg("CREATE")
            .arg(&self.topic)
            .arg(&self.settings.group)
            .arg("0")
            .arg("MKSTREAM");
        let made: Result<String, RedisError> = create.query_async(&mut self.connection.clone()).await;
        match made {
            Err(error) if error.code() != Some("BUSYGROUP") => Err(error),
            _ => Ok(()),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashSet<String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a message over and watches it to its end. `false` when nobody receives any more.
    async fn hand_over(self: &Arc<Self>, entry: StreamId, supply: &Supply, tasks: &mut Tasks) -> bool {
        if !self.held().insert(entry.id.clone()) {
            return true;
        }
        let release = Held(self.clone(), entry.id.clone());
        let Ok(place) = self.places.clone().acquire_owned().await else {
            return false;
        };
        let message = self.message(&entry);
        let share = self.room.take(&message).await;
        let Some(settled) = supply.deliver(message).await else {
            return false;
        };
        let group = self.clone();
        tasks.spawn("pubsub-redis-message", async move {
            let outcome = settled.outcome();
            tokio::pin!(outcome);
            let limit = group.settings.processing_timeout;
            let ended = if limit.is_zero() {
                outcome.await
            } else if let Ok(ended) = timeout(limit, &mut outcome).await {
                ended
            } else {
                // Over time: it gives up its place and may be taken again, but a late word still counts.
                tracing::warn!(topic = group.topic, "a message takes longer than processingTimeout");
                drop((place, share, release));
                if outcome.await == Some(Outcome::Done) {
                    group.acknowledge(&entry.id).await;
                }
                return;
            };
            if ended == Some(Outcome::Done) {
                group.acknowledge(&entry.id).await;
            }
            drop((place, share, release));
        });
        true
    }

    fn message(&self, entry: &StreamId) -> Message {
        let metadata: Option<Vec<u8>> = entry.get("metadata");
        let metadata: Option<HashMap<String, String>> = metadata.and_then(|text| {
            let parsed = serde_json::from_slice(&text);
            parsed.unwrap_or_else(|_| {
                tracing::warn!(
                    topic = self.topic,
                    id = entry.id,
                    "the metadata of a message cannot be read"
                );
                None
            })
        });
        Message {
            topic: self.topic.clone(),
            data: entry.get::<Vec<u8>>("data").unwrap_or_default().into(),
            metadata: metadata.unwrap_or_default(),
            content_type: None,
        }
    }

    async fn acknowledge(&self, id: &str) {
        let mut ack = cmd("XACK");
        ack.arg(&self.topic).arg(&self.settings.group).arg(id);
        let acknowledged: Result<u64, _> = ack.query_async(&mut self.connection.clone()).await;
        if let Err(error) = acknowledged {
            tracing::error!(topic = self.topic, id, %error, "a message cannot be acknowledged and will come again");
        }
    }

    async fn new_messages(&self, connection: &mut ConnectionManager) -> Result<Vec<StreamId>, RedisError> {
        let mut read = cmd("XREADGROUP");
        let name = &self.settings.group;
        read.arg("GROUP").arg(name).arg(name);
        read.arg("COUNT").arg(self.room.count(self.settings.queue_depth).await);
        read.arg("BLOCK")
            .arg(u64::try_from(BLOCK.as_millis()).unwrap_or(u64::MAX));
        read.arg("STREAMS").arg(&self.topic).arg(">");
        let answer: Option<StreamReadReply> = read.query_async(connection).await?;
        let streams = answer.map(|answer| answer.keys).unwrap_or_default();
        let entries: Vec<StreamId> = streams.into_iter().flat_map(|stream| stream.ids).collect();
        self.learn(&entries);
        Ok(entries)
    }

    /// What nobody has acknowledged in time, from `start` on, and where to go on; `0-0` = that was all.
    async fn left_behind(&self, start: &str) -> Result<(Vec<StreamId>, String), RedisError> {
        let mut claim = cmd("XAUTOCLAIM");
        let name = &self.settings.group;
        claim.arg(&self.topic).arg(name).arg(name);
        claim.arg(u64::try_from(self.settings.processing_timeout.as_millis()).unwrap_or(u64::MAX));
        claim
            .arg(start)
            .arg("COUNT")
            .arg(self.room.count(self.settings.queue_depth).await);
        let answer: StreamAutoClaimReply = claim.query_async(&mut self.connection.clone()).await?;
        self.learn(&answer.claimed);
        Ok((answer.claimed, answer.next_stream_id))
    }

    fn learn(&self, entries: &[StreamId]) {
        let size = |entry: &StreamId| entry.map.values().map(length).sum();
        self.room.learn(entries.iter().map(size));
    }
}

fn length(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len(),
        Value::SimpleString(text) => text.len(),
        _ => 0,
    }
}

/// A message that this subscription holds.
struct Held(Arc<Group>, String);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held().remove(&self.1);
    }
}

/// Hands over what is new, until nobody receives any more.
pub(super) async fn read_new(group: Arc<Group>, mut connection: ConnectionManager, supply: Supply, stop: Shutdown) {
    let mut tasks = Tasks::new();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    'reading: loop {
        let read = tokio::select! {
            read = group.new_messages(&mut connection) => read,
            () = supply.unwanted() => break,
            () = stop.wait() => break,
        };
        match read {
            Ok(entries) => {
                backoff.reset();
                for entry in entries {
                    let handed = stop.unless(group.hand_over(entry, &supply, &mut tasks)).await;
                    if handed != Some(true) {
                        break 'reading;
                    }
                }
            }
            Err(error) => {
                tracing::error!(topic = group.topic, %error, "error reading from a stream");
                if error.code() == Some("NOGROUP")
                    && let Err(error) = group.create().await
                {
                    tracing::error!(topic = group.topic, %error, "the group cannot be made again");
                }
                tokio::select! {
                    () = sleep(backoff.next_delay()) => {}
                    () = supply.unwanted() => break,
                    () = stop.wait() => break,
                }
            }
        }
    }
    finish(&group, tasks).await;
}

/// Hands over what was left behind, at once and then now and then, until nobody receives any more.
pub(super) async fn take_again(group: Arc<Group>, supply: Supply, stop: Shutdown) {
    let settings = group.settings.clone();
    if settings.processing_timeout.is_zero() || settings.redeliver_interval.is_zero() {
        return;
    }
    let mut tasks = Tasks::new();
    let mut ticks = interval(settings.redeliver_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    'looking: loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = supply.unwanted() => break,
            () = stop.wait() => break,
        }
        let mut start = "0-0".to_owned();
        loop {
            let entries = match stop.unless(group.left_behind(&start)).await {
                None => break 'looking,
                Some(Ok((entries, next))) => {
                    start = next;
                    entries
                }
                Some(Err(error)) => {
                    tracing::error!(topic = group.topic, %error, "error looking for messages left behind");
                    break;
                }
            };
            for entry in entries {
                let handed = stop.unless(group.hand_over(entry, &supply, &mut tasks)).await;
                if handed != Some(true) {
                    break 'looking;
                }
            }
            if start == "0-0" {
                break;
            }
        }
    }
    finish(&group, tasks).await;
}

async fn finish(group: &Group, tasks: Tasks) {
    if let Err(overdue) = tasks.drain(DRAIN).await {
        tracing::warn!(topic = group.topic, %overdue, "messages stay pending");
    }
}
