//! How old the route table may be: what a gateway that is cut off from its agent does not know.
//!
//! One idea: while the agent's stream is up the table is the newest there is; from its end on, the table ages, and whoever
//! asks is told how much. Must never read a clock while a request waits.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// See the module. Times are Unix seconds.
pub(crate) struct Freshness {
    /// Since when the table ages; 0 = it does not.
    since: AtomicI64,
    too_old: AtomicBool,
    /// Seconds; 0 = no bound.
    max_age: u64,
}

impl Freshness {
    /// Nothing has been heard yet.
    pub(crate) fn new(max_age_s: u64) -> Self {
        Self {
            since: AtomicI64::new(now()),
            too_old: AtomicBool::new(false),
            max_age: max_age_s,
        }
    }

    /// The table is from `since`; it was the newest until then at least.
    pub(crate) fn last_known(&self, since: i64) {
        self.since.store(since.max(1), Relaxed);
        self.look(now());
    }

    /// The agent's newest table is in force, and the next one will be.
    pub(crate) fn connected(&self) {
        self.since.store(0, Relaxed);
        self.too_old.store(false, Relaxed);
    }

    /// The agent is away.
    pub(crate) fn cut_off(&self, now: i64) {
        // What has begun to age goes on.
        let _ = self.since.compare_exchange(0, now, Relaxed, Relaxed);
    }

    /// How many seconds the table may be behind; 0 while connected. Decides whether that is too much.
    pub(crate) fn look(&self, now: i64) -> u64 {
        let since = self.since.load(Relaxed);
        // A clock that was set back makes nothing younger than it is.
        let age = if since == 0 {
            0
        } else {
            u64::try_from(now - since).unwrap_or(0)
        };
        self.too_old.store(self.max_age > 0 && age > self.max_age, Relaxed);
        age
    }

    pub(crate) fn is_too_old(&self) -> bool {
        self.too_old.load(Relaxed)
    }
}

/// Unix seconds.
pub(crate) fn now() -> i64 {
    seconds(SystemTime::now())
}

/// Unix seconds; before 1970 is 0.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
