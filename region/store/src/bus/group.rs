//! The task of one group.
//!
//! One idea: a loop that gives out what may go out, collects what was settled, and has one commit under way at a time, so
//! that what piles up during one is in the next. Must never let the next message of a key out before the one before it is
//! done on disk, nor end while something settled is not written.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use palladium_proto::store::Delivery;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tonic::Status;

use super::consumer::{Consumer, How, NotSent, Word};
use super::queue::Queue;
use super::{Bus, Place};
use crate::rows::{BusWork, Entry, Outcome, StorageError, Token, Work, now_ms};

/// Pending messages read at a time.
const PAGE: usize = 256;
/// Words heard and messages given out before the other is looked at.
const ROUND: usize = 64;
/// The pause when there is no memory.
const NO_ROOM: Duration = Duration::from_millis(100);
/// The pause before a commit that failed is tried again.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// How often it is written down that somebody receives.
const SEEN_EVERY: Duration = Duration::from_secs(3600);
/// How long the last commit may take.
const LAST: Duration = Duration::from_secs(1);
/// Words about messages that nobody here has, kept for the next commit.
const MOST_LATE: usize = 10_000;

type Writing = Pin<Box<dyn Future<Output = Result<Outcome, StorageError>> + Send>>;

pub(super) struct Group {
    bus: Bus,
    place: Place,
    queue: Queue,
    /// There may be more on disk than was read.
    more: bool,
    consumers: Vec<Consumer>,
    /// Settled, to be written.
    done: Vec<Entry>,
    /// The same of messages that are not in the queue.
    late: Vec<Token>,
    /// What is being written.
    writing: Option<Writing>,
    in_writing: Vec<Entry>,
    failed: bool,
    /// Who waits until all that was settled is on disk.
    leaving: Vec<oneshot::Sender<()>>,
}

impl Group {
    pub(super) fn new(bus: Bus, place: Place) -> Self {
        Group {
            bus,
            place,
            queue: Queue::default(),
            more: true,
            consumers: Vec::new(),
            done: Vec::new(),
            late: Vec::new(),
            writing: None,
            in_writing: Vec::new(),
            failed: false,
            leaving: Vec::new(),
        }
    }

    /// Runs as long as it has a consumer.
    pub(super) async fn run(mut self, mut words: mpsc::Receiver<Word>, wake: Arc<Notify>) {
        let shutdown = self.bus.shutdown().clone();
        let mut seen = interval(SEEN_EVERY);
        seen.set_missed_tick_behavior(MissedTickBehavior::Delay);
        seen.tick().await;
        // Whoever made this task has joined; that word is the first.
        let Some(first) = words.recv().await else { return };
        self.hear(first);
        let status = loop {
            let busy = match self.give_out().await {
                Ok(busy) => busy,
                Err(error) => break Status::unavailable(error.to_string()),
            };
            self.write();
            let idle = self.consumers.is_empty() && self.writing.is_none();
            if idle && self.bus.retire(&self.place, &words, false) {
                return;
            }
            let due = self.queue.next_due();
            tokio::select! {
                biased;
                () = shutdown.wait() => break Status::unavailable("the managed store is closing"),
                written = async { self.writing.as_mut().expect("invariant: asked only while writing").await }, if self.writing.is_some() => {
                    if let Err(error) = self.written(written) {
                        break Status::unavailable(error.to_string());
                    }
                }
                word = words.recv() => {
                    // The registry has the other end until this task is retired.
                    let Some(word) = word else { break Status::unavailable("the group was closed") };
                    self.hear(word);
                    for _ in 0..ROUND {
                        let Ok(word) = words.try_recv() else { break };
                        self.hear(word);
                    }
                }
                () = wake.notified() => self.more = true,
                _ = seen.tick() => {
                    let (project, group) = (self.place.project.clone(), self.place.joined.group);
                    if let Err(error) = project.submit(Work::Bus(BusWork::Seen { group })).await {
                        tracing::warn!(%error, "it was not written down that somebody receives for a group");
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                () = std::future::ready(()), if busy => {}
            }
        };
        self.bus.retire(&self.place, &words, true);
        self.end(words, status).await;
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Join(consumer) => self.consumers.push(consumer),
            Word::Window(number, window) => {
                if let Some(consumer) = self.consumer(number) {
                    consumer.set_window(window);
                }
            }
            Word::Settle(number, token, how) => self.settle(number, token, how),
            Word::Leave(number, written) => {
                if let Some(at) = self.consumers.iter().position(|one| one.number == number) {
                    for entry in self.consumers.swap_remove(at).left() {
                        self.queue.again(entry, None);
                    }
                }
                self.leaving.push(written);
                self.answer_leaving();
            }
        }
    }

    fn consumer(&mut self, number: u64) -> Option<&mut Consumer> {
        self.consumers.iter_mut().find(|one| one.number == number)
    }

    fn settle(&mut self, number: u64, token: Token, how: How) {
        let had = self.consumer(number).and_then(|consumer| consumer.settled(&token));
        match (had, how) {
            (Some(entry), How::Done) => self.done.push(entry),
            (Some(entry), How::Again(delay)) => {
                let not_before = (!delay.is_zero()).then(|| Instant::now() + delay);
                self.queue.again(entry, not_before);
            }
            // It had the message on a connection that was lost, and has handled it.
            (None, How::Done) => {
                if let Some(entry) = self.queue.find(&token) {
                    self.done.push(entry);
                } else if !self.consumers.iter().any(|one| one.has(&token)) && self.late.len() < MOST_LATE {
                    self.late.push(token);
                }
            }
            (None, How::Again(_)) => {}
        }
    }

    /// Gives out what may go out; answers whether there may be more at once.
    async fn give_out(&mut self) -> Result<bool, StorageError> {
        self.queue.due(Instant::now());
        if self.more && self.queue.is_low() && self.queue.room() >= PAGE && !self.consumers.is_empty() {
            let after = self.queue.last;
            let page = self.place.project.pending(self.place.joined.group, after, PAGE).await?;
            self.more = page.len() == PAGE;
            page.into_iter().for_each(|entry| self.queue.push(entry));
        }
        let now = now_ms();
        for _ in 0..ROUND {
            let Some(next) = self.queue.peek() else {
                return Ok(self.more && self.queue.room() >= PAGE && !self.consumers.is_empty());
            };
            let (size, expired) = (next.size, next.expires_ms <= now);
            let free = self.consumers.iter().enumerate().filter(|(_, one)| one.takes(size));
            let free = free.min_by_key(|(_, one)| one.load()).map(|(at, _)| at);
            if free.is_none() && !expired {
                return Ok(false);
            }
            let Some(entry) = self.queue.take() else {
                return Ok(false);
            };
            let place = &self.place;
            let message = match free {
                Some(_) if !expired => {
                    place
                        .project
                        .message(&place.component, &place.topic, &entry.token)
                        .await?
                }
                _ => None,
            };
            let (Some(message), Some(consumer)) = (message, free.and_then(|at| self.consumers.get_mut(at))) else {
                // It is gone: the sweep removes what has expired.
                self.queue.done(&entry);
                continue;
            };
            let delivery = Delivery {
                token: entry.token.to_bytes().into(),
                message: Some(message),
            };
            match consumer.send(entry, delivery) {
                Ok(()) => {}
                Err((entry, NotSent::Gone)) => self.queue.again(entry, None),
                Err((entry, NotSent::NoRoom)) => self.queue.again(entry, Some(Instant::now() + NO_ROOM)),
            }
        }
        Ok(true)
    }

    /// Begins to write what was settled, unless that is going on.
    fn write(&mut self) {
        if self.writing.is_some() || (self.done.is_empty() && self.late.is_empty()) {
            return;
        }
        self.in_writing = std::mem::take(&mut self.done);
        let late = std::mem::take(&mut self.late);
        let tokens = self.in_writing.iter().map(|entry| entry.token).chain(late).collect();
        let (project, group, failed) = (self.place.project.clone(), self.place.joined.group, self.failed);
        self.writing = Some(Box::pin(async move {
            if failed {
                sleep(WRITE_AGAIN).await;
            }
            project.submit(Work::Bus(BusWork::Done { group, tokens })).await
        }));
    }

    /// What was written is done; what could not be is written again, and not delivered meanwhile.
    fn written(&mut self, outcome: Result<Outcome, StorageError>) -> Result<(), StorageError> {
        self.writing = None;
        self.failed = outcome.is_err();
        match outcome {
            Ok(_) => self.in_writing.drain(..).for_each(|entry| self.queue.done(&entry)),
            Err(StorageError::Closed) => return Err(StorageError::Closed),
            Err(error) => {
                tracing::warn!(%error, "what was handled cannot be written down yet");
                self.done.append(&mut self.in_writing);
            }
        }
        self.answer_leaving();
        Ok(())
    }

    fn answer_leaving(&mut self) {
        if self.writing.is_none() && self.done.is_empty() && self.late.is_empty() {
            for one in self.leaving.drain(..) {
                let _ = one.send(());
            }
        }
    }

    /// The last commit, and the last word to everybody.
    async fn end(mut self, mut words: mpsc::Receiver<Word>, status: Status) {
        words.close();
        while let Ok(word) = words.try_recv() {
            self.hear(word);
        }
        let all = async {
            while self.writing.is_some() || !self.done.is_empty() || !self.late.is_empty() {
                self.write();
                let Some(writing) = self.writing.as_mut() else { break };
                let outcome = writing.await;
                if self.written(outcome).is_err() {
                    break;
                }
            }
        };
        // What is not written comes again.
        let _ = timeout(LAST, all).await;
        for consumer in &self.consumers {
            consumer.end(status.clone());
        }
    }
}
