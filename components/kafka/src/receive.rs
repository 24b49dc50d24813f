//! The member of the group: joins, polls, commits, leaves.
//!
//! One idea: a poll is never cut off, because the library changes the assignment within it, and topics are changed only while no
//! round of joining is under way, because it would miss the change; where that cannot be known the member leaves and comes back.
//! Must never wait for anything without an end: who does not poll loses its partitions.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use krafka::consumer::{AutoOffsetReset, Consumer, PartitionAssignmentStrategy as Strategy};
use krafka::{CloseOptions, Kafka, KrafkaError, ProtocolErrorKind};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::intake::Shared;
use crate::lane::Common;
use crate::lanes::{GIVE_UP, Lanes};
use crate::{ANSWER, Fault};

/// How long one poll may wait.
const POLL: Duration = Duration::from_millis(500);
/// After how long without a poll a member counts as stuck, and how long others wait for it.
const STUCK: Duration = Duration::from_secs(60);
/// How long a record that is with a taker keeps a component from closing.
const CLOSING: Duration = Duration::from_millis(2500);
/// How long the cluster may take to hear of the last messages when a component closes.
const FAREWELL: Duration = Duration::from_millis(1500);
/// How long leaving may take.
const LEAVING: Duration = Duration::from_secs(2);
/// Until it is looked again for a topic that is not there.
const MISSING: Duration = Duration::from_secs(5);
/// Between two commits: so many settled records are told at once.
const COMMITS: Duration = Duration::from_millis(50);
/// Bytes of one answer, unless a single message is larger or the component says more. What is not unpacked of it at once is
/// fetched again.
const FETCH: i32 = 2 << 20;
/// Records of one poll. A lane that is full is paused after it, so this is what comes on top.
const AT_ONCE: i32 = 8;
/// Records that are unpacked beside these and handed out by the next polls: each may hold on to a batch of its own, whose size
/// when it is unpacked is bounded, but not by what was fetched.
const UNPACKED: i32 = 56;
/// After how long of failing it is tried less often, and how often.
const SLOW: Duration = Duration::from_secs(5);

/// Why a membership ended.
enum End {
    /// Nobody wants anything, or something else.
    Changed,
    Broken(Fault),
}

/// Until the end.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut kafka: Option<Kafka> = None;
    let mut changes = shared.routes.changes();
    while !shared.stop.is_triggered() {
        changes.mark_unchanged();
        if shared.routes.topics(|_| false).is_empty() {
            // An idle component needs no connections.
            kafka = None;
            tokio::select! {
                _ = changes.changed() => {}
                () = shared.stop.wait() => {}
            }
            continue;
        }
        let ended = match Group::join(&shared, &mut kafka).await {
            Ok(group) => group.receive().await,
            Err(fault) => End::Broken(fault),
        };
        shared.joined.send_replace(BTreeSet::new());
        if let End::Broken(fault) = ended {
            kafka = None;
            report(&shared, fault);
            shared
                .stop
                .unless(sleep(shared.reading.pause.max(Duration::from_millis(500))))
                .await;
        }
    }
}

/// Unless the component is closed: then it is no news that nothing is received.
fn report(shared: &Shared, fault: Fault) {
    if shared.stop.is_triggered() {
        return;
    }
    tell(shared, &format!("not receiving: {fault}"));
    shared.fault.send_replace(Some(fault));
}

fn tell(shared: &Shared, words: &str) {
    let group = &shared.reading.group;
    match shared.news.is_new(words, Instant::now()) {
        true => tracing::warn!(group, "{words}"),
        false => tracing::debug!(group, "{words}"),
    }
}

/// Whether it is about a batch that this library cannot read, or may not unpack. It stays as it is whoever fetches it; all other
/// partitions are well.
fn is_unreadable(error: &KrafkaError) -> bool {
    let is_ours = |kind| {
        matches!(
            kind,
            ProtocolErrorKind::UnknownApiVersion | ProtocolErrorKind::FrameTooLarge
        )
    };
    error.protocol_error_kind().is_some_and(|kind| !is_ours(kind))
}

/// The pause after a poll that failed. Who does not poll loses its partitions.
fn rest(said: Duration, failing: Duration) -> Duration {
    let least = if failing < SLOW { Duration::ZERO } else { SLOW };
    said.max(least).min(STUCK / 2)
}

struct Group {
    shared: Arc<Shared>,
    consumer: Arc<Consumer>,
    lanes: Arc<Lanes>,
    bell: Arc<Notify>,
    subscribed: BTreeSet<String>,
    /// How many partitions each topic has, when it was looked last.
    partitions: HashMap<String, usize>,
    looked: Instant,
    /// Since when every poll fails.
    failing: Option<Instant>,
    /// Whether the poll before found a batch that cannot be read.
    unreadable: bool,
}

impl Group {
    async fn join(shared: &Arc<Shared>, kafka: &mut Option<Kafka>) -> Result<Self, Fault> {
        let handle = match kafka {
            Some(kafka) => kafka.clone(),
            None => {
                let connected = shared.stop.unless(shared.reach.connect()).await;
                let connected = connected.unwrap_or_else(|| Err(Fault::Lost("closed".into())))?;
                kafka.insert(connected).clone()
            }
        };
        let (reading, bell) = (&shared.reading, Arc::new(Notify::new()));
        let membership = Arc::new(OnceLock::new());
        let common = Common {
            routes: shared.routes.clone(),
            again: reading.again.clone(),
            ahead: reading.ahead,
            bell: bell.clone(),
            membership: membership.clone(),
        };
        let lanes = Arc::new(Lanes::new(common, !reading.oldest, shared.joined.clone()));
        let begin = match reading.oldest {
            true => AutoOffsetReset::Earliest,
            false => AutoOffsetReset::Latest,
        };
        let consumer = handle
            .consumer(&*reading.group)
            .auto_offset_reset(begin)
            .enable_auto_commit(false)
            .partition_assignment_strategy(reading.strategy)
            .session_timeout(reading.session)
            .heartbeat_interval(reading.heartbeat)
            .max_poll_interval(STUCK)
            .fetch_min_bytes(reading.fetch_min)
            .max_partition_fetch_bytes(reading.fetch_most)
            .fetch_max_bytes(FETCH.max(reading.fetch_most).max(reading.fetch_min))
            .fetch_max_wait(POLL)
            .max_decompressed_size(reading.unpacked)
            .max_poll_records(AT_ONCE)
            .max_buffered_records(UNPACKED)
            .metrics_push(false)
            .rebalance_listener(lanes.clone())
            .build()
            .await?;
        let consumer = Arc::new(consumer);
        let _ = membership.set(Arc::downgrade(&consumer));
        Ok(Group {
            shared: shared.clone(),
            consumer,
            lanes,
            bell,
            subscribed: BTreeSet::new(),
            partitions: HashMap::new(),
            looked: Instant::now(),
            failing: None,
            unreadable: false,
        })
    }

    async fn receive(mut self) -> End {
        let (lanes, bell, shared) = (self.lanes.clone(), self.bell.clone(), self.shared.clone());
        let mut committing = pin!(commits(&lanes, &bell));
        let waking = pin!(wake(&shared, self.consumer.clone()));
        let end = tokio::select! {
            end = self.poll_on() => end,
            never = committing.as_mut() => match never {},
            never = waking => match never {},
        };
        // A commit that is under way holds the lock that giving up waits for: it must go on, or both would stand still.
        tokio::select! {
            () = self.leave(&end) => {}
            never = committing => match never {},
        }
        end
    }

    async fn poll_on(&mut self) -> End {
        loop {
            let wanted = self.shared.routes.topics(|topic| self.lanes.is_busy(topic));
            if self.shared.stop.is_triggered() || wanted.is_empty() {
                return End::Changed;
            }
            if wanted != self.subscribed {
                // A member that has nothing may be joining without our knowing.
                let is_known = !self.lanes.is_empty() && self.shared.reading.strategy != Strategy::CooperativeSticky;
                if self.subscribed.is_empty() || (self.lanes.is_settled() && is_known) {
                    if let Err(fault) = self.subscribe(wanted).await {
                        return End::Broken(fault);
                    }
                } else if self.lanes.is_settled() {
                    return End::Changed;
                }
            } else if self.lanes.is_settled() && self.has_more_partitions().await {
                return End::Changed;
            }
            match self.consumer.poll(POLL).await {
                Ok(records) => {
                    self.unreadable = false;
                    if self.failing.take().is_some() || self.shared.fault.borrow().is_some() {
                        self.shared.fault.send_replace(None);
                    }
                    self.lanes.push(records);
                    self.lanes.balance(&self.consumer).await;
                }
                Err(KrafkaError::Wakeup) => {}
                Err(error) => {
                    if let Some(fault) = self.failed(error).await {
                        return End::Broken(fault);
                    }
                }
            }
        }
    }

    /// After a poll that failed: a pause, or why to leave.
    async fn failed(&mut self, error: KrafkaError) -> Option<Fault> {
        let failing = self.failing.get_or_insert_with(Instant::now).elapsed();
        if is_unreadable(&error) && !self.consumer.is_closed() {
            // Whoever had the partition next could not read it either, so nobody leaves for this.
            tell(&self.shared, &format!("a partition stands still: {error}"));
            self.unreadable = !self.unreadable;
            if self.unreadable {
                // What came with it from others is handed out by the next poll.
                return None;
            }
        } else {
            let fault = Fault::from(error);
            if self.consumer.is_closed() || failing > STUCK {
                return Some(fault);
            }
            report(&self.shared, fault);
        }
        let pause = rest(self.shared.reading.pause, failing);
        self.shared.stop.unless(sleep(pause)).await;
        None
    }

    async fn subscribe(&mut self, wanted: BTreeSet<String>) -> Result<(), Fault> {
        self.look(&wanted).await?;
        self.lanes.subscribe(&wanted);
        let subscribing = self.consumer.subscribe(&wanted);
        match timeout(ANSWER, subscribing).await {
            Ok(subscribed) => subscribed?,
            Err(_) => return Err(Fault::Lost(format!("subscribing: no answer within {ANSWER:?}"))),
        }
        self.subscribed = wanted;
        Ok(())
    }

    /// Looks how many partitions topics have. One that is not there is made by this, where the cluster allows it.
    async fn look(&mut self, topics: &BTreeSet<String>) -> Result<(), Fault> {
        let began = Instant::now();
        for topic in topics {
            let count = loop {
                match timeout(ANSWER, self.count(topic)).await {
                    Ok(Ok(count)) if count > 0 => break count,
                    Ok(Ok(_) | Err(Fault::Lost(_))) if began.elapsed() < MISSING => {}
                    Ok(Ok(_)) => {
                        tracing::warn!(topic, "the topic is not there: it is looked for again and again");
                        break 0;
                    }
                    Ok(Err(fault)) => return Err(fault),
                    Err(_) => return Err(Fault::Lost(format!("metadata: no answer within {ANSWER:?}"))),
                }
                self.shared.stop.unless(sleep(Duration::from_millis(100))).await;
                if self.shared.stop.is_triggered() {
                    return Err(Fault::Lost("closed".into()));
                }
            };
            self.partitions.insert(topic.clone(), count);
        }
        self.looked = Instant::now();
        Ok(())
    }

    async fn count(&self, topic: &str) -> Result<usize, Fault> {
        match self.consumer.fetch_metadata(Some(topic)).await {
            Ok(found) => Ok(found.topics.iter().map(|topic| topic.partition_count()).sum()),
            Err(KrafkaError::UnknownTopic { .. }) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the group should share anew, which no broker would tell.
    async fn has_more_partitions(&mut self) -> bool {
        let is_missing = self
            .subscribed
            .iter()
            .any(|topic| self.partitions.get(topic) == Some(&0));
        let pause = if is_missing { MISSING } else { self.shared.reach.refresh };
        if self.looked.elapsed() < pause {
            return false;
        }
        self.looked = Instant::now();
        for topic in &self.subscribed {
            let Ok(Ok(count)) = timeout(Duration::from_secs(5), self.count(topic)).await else {
                return false;
            };
            if count > self.partitions.get(topic).copied().unwrap_or_default() {
                tracing::info!(topic, count, "the topic has more partitions");
                return true;
            }
        }
        false
    }

    async fn leave(&self, end: &End) {
        // Who leaves in the middle of a round of joining is waited for until its session is over.
        let began = Instant::now();
        let is_joining = || !self.lanes.is_settled() && matches!(end, End::Changed) && began.elapsed() < LEAVING;
        while is_joining() && self.consumer.poll(POLL).await.is_ok() {}
        let (within, answer) = match self.shared.stop.is_triggered() {
            true => (CLOSING, FAREWELL),
            false => (GIVE_UP, ANSWER),
        };
        self.lanes.give_up(None, within, answer).await;
        if let Err(error) = self.consumer.close_with(CloseOptions::new().timeout(LEAVING)).await {
            tracing::debug!(%error, "the group is left without a word");
        }
    }
}

/// Commits as long as it is wanted.
async fn commits(lanes: &Lanes, bell: &Notify) -> Infallible {
    loop {
        bell.notified().await;
        sleep(COMMITS).await;
        if let Err(fault) = lanes.commit().await {
            tracing::debug!("not committed, tried again: {fault}");
            sleep(Duration::from_secs(1)).await;
            bell.notify_one();
        }
    }
}

/// Wakes a poll that waits when something else is wanted.
async fn wake(shared: &Shared, consumer: Arc<Consumer>) -> Infallible {
    let mut changes = shared.routes.changes();
    loop {
        tokio::select! {
            _ = changes.changed() => {}
            () = shared.stop.wait() => {
                consumer.wakeup();
                std::future::pending::<()>().await;
            }
        }
        consumer.wakeup();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_cannot_be_read_is_no_broken_connection() {
        // As the library says it, of a batch that is cut off or damaged, or would unpack to too much.
        for kind in [
            ProtocolErrorKind::TruncatedFrame,
            ProtocolErrorKind::CrcMismatch,
            ProtocolErrorKind::Malformed,
        ] {
            assert!(is_unreadable(&KrafkaError::protocol_kind(kind, "undecodable")));
        }
        let old = KrafkaError::protocol_kind(ProtocolErrorKind::UnknownApiVersion, "an old cluster");
        for error in [old, KrafkaError::timeout("join"), KrafkaError::unknown_topic("t")] {
            assert!(!is_unreadable(&error), "{error}");
        }
    }

    #[test]
    fn what_keeps_failing_is_tried_less_often_and_often_enough() {
        let said = Duration::from_millis(100);
        assert_eq!(rest(said, Duration::ZERO), said);
        assert_eq!(rest(said, SLOW), SLOW);
        for failing in [Duration::ZERO, SLOW, STUCK * 100] {
            assert!(rest(STUCK * 10, failing) < STUCK);
        }
    }
}
