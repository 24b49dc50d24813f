//! Who receives what: the groups that somebody receives for just now, in memory.
//!
//! The one idea: a group has one task as long as it has a consumer, and that task alone decides which message goes to whom.
//! A delivery belongs to its consumer as long as the consumer's connection lives, which HTTP/2 pings find out; then it goes to
//! somebody else at once. Nothing here has to outlive the process: a store that starts again delivers whatever is pending on
//! disk. Must never give one delivery to two consumers at a time.

mod consumer;
mod group;
mod queue;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palladium_tasks::{Shutdown, Tasks};
use tokio::sync::{Notify, mpsc};

pub(crate) use consumer::{Consumer, How, MAX_WINDOW, Word};
use group::Group;

use crate::rows::{BusLimits, Joined, Project};

/// Words that may wait for a group's task; whoever says one more waits.
const WORDS: usize = 1024;
/// How long groups have at the end to write down what was settled.
const DRAIN: Duration = Duration::from_secs(2);

/// The groups of all projects; cheap to clone.
#[derive(Clone)]
pub(crate) struct Bus(Arc<Inner>);

struct Inner {
    limits: Arc<BusLimits>,
    shutdown: Shutdown,
    projects: Mutex<HashMap<String, Open>>,
    tasks: Mutex<Tasks>,
    next: AtomicU64,
}

/// What is open of a project.
#[derive(Default)]
struct Open {
    groups: HashMap<i64, Live>,
    subscriptions: usize,
}

/// A group with a task.
struct Live {
    topic: i64,
    words: mpsc::Sender<Word>,
    wake: Arc<Notify>,
}

/// Where a group's messages lie.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) project: Arc<Project>,
    pub(crate) component: Arc<str>,
    pub(crate) topic: String,
    pub(crate) joined: Joined,
}

impl Bus {
    pub(crate) fn new(limits: BusLimits, shutdown: Shutdown) -> Self {
        Bus(Arc::new(Inner {
            limits: Arc::new(limits),
            shutdown,
            projects: Mutex::default(),
            tasks: Mutex::default(),
            next: AtomicU64::new(1),
        }))
    }

    pub(crate) fn limits(&self) -> &Arc<BusLimits> {
        &self.0.limits
    }

    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// A number that no other consumer has.
    pub(crate) fn number(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs beside the calls, as long as the bus.
    pub(crate) fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        lock(&self.0.tasks).spawn(name, work);
    }

    /// There are new messages.
    pub(crate) fn published(&self, project: &str, topic: i64) {
        let projects = lock(&self.0.projects);
        let groups = projects.get(project).into_iter().flat_map(|open| open.groups.values());
        groups
            .filter(|live| live.topic == topic)
            .for_each(|live| live.wake.notify_one());
    }

    /// A place among the subscriptions of a project; `None` when it has all that it may have.
    pub(crate) fn seat(&self, project: &str) -> Option<Seat> {
        let mut projects = lock(&self.0.projects);
        let open = projects.entry(project.to_owned()).or_default();
        if open.subscriptions >= self.0.limits.subscriptions {
            return None;
        }
        open.subscriptions += 1;
        Some(Seat(self.clone(), project.to_owned()))
    }

    /// Lets a consumer receive; words about it go to the answer. `None` when the group's task is too busy.
    pub(crate) fn join(&self, place: &Place, consumer: Consumer) -> Option<mpsc::Sender<Word>> {
        // Under the lock: a task ends only when it finds, under the same lock, that nobody has joined.
        let mut projects = lock(&self.0.projects);
        let open = projects.entry(place.id.clone()).or_default();
        // One whose task has panicked.
        open.groups.retain(|_, live| !live.words.is_closed());
        let live = open.groups.entry(place.joined.group).or_insert_with(|| {
            let (words, heard) = mpsc::channel(WORDS);
            let wake = Arc::new(Notify::new());
            let group = Group::new(self.clone(), place.clone());
            self.spawn("bus-group", group.run(heard, wake.clone()));
            Live {
                topic: place.joined.topic,
                words,
                wake,
            }
        });
        live.words.try_send(Word::Join(consumer)).ok()?;
        Some(live.words.clone())
    }

    /// Ends a group's task, unless somebody has joined meanwhile.
    fn retire(&self, place: &Place, words: &mpsc::Receiver<Word>, whatever: bool) -> bool {
        let mut projects = lock(&self.0.projects);
        if !whatever && !words.is_empty() {
            return false;
        }
        if let Some(open) = projects.get_mut(&place.id) {
            open.groups.remove(&place.joined.group);
            if open.groups.is_empty() && open.subscriptions == 0 {
                projects.remove(&place.id);
            }
        }
        true
    }

    /// Waits for what was settled to be on disk. The shutdown has been triggered.
    pub(crate) async fn end(&self) {
        let tasks = std::mem::take(&mut *lock(&self.0.tasks));
        if let Err(overdue) = tasks.drain(DRAIN).await {
            tracing::warn!(%overdue, "groups were cut off at shutdown: what they delivered comes again");
        }
    }
}

/// A panic under these locks leaves collections that are still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One subscription's place, given back when dropped.
pub(crate) struct Seat(Bus, String);

impl Drop for Seat {
    fn drop(&mut self) {
        let mut projects = lock(&self.0.0.projects);
        if let Some(open) = projects.get_mut(&self.1) {
            open.subscriptions = open.subscriptions.saturating_sub(1);
            if open.groups.is_empty() && open.subscriptions == 0 {
                projects.remove(&self.1);
            }
        }
    }
}
