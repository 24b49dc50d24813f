//! When each token was last used, by the minute, and how often it came to a host that is not its project's.
//!
//! One idea: a request leaves a mark on its token and nothing else; every few seconds one task turns marks into minutes
//! and tells the agent what is new. Must never keep more than this one small record for a token of the table, nor make a
//! request read a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed};

use palladium_proto::region::TokenUse;

use crate::table::{Digest, Table};

/// In one report: about 250 KB.
const MOST: usize = 5_000;
/// Seconds.
const MINUTE: i64 = 60;

/// What is noted of one token.
#[derive(Default)]
pub(crate) struct Uses {
    used: AtomicBool,
    foreign_host: AtomicU32,
    /// Unix seconds; written by the one task that reports, like what it has told.
    last: AtomicI64,
    told: AtomicI64,
    /// The minute in which calls at foreign hosts were last told, since 1970.
    foreign_host_told: AtomicI64,
}

impl Uses {
    /// A call with the token. Written only when it is news, so that workers do not fight for its place in memory.
    pub(crate) fn mark(&self) {
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }

    /// A call with the token at another project's host.
    pub(crate) fn mark_foreign_host(&self) {
        // Stops at the end instead of beginning again.
        let _ = self
            .foreign_host
            .fetch_update(Relaxed, Relaxed, |count| count.checked_add(1));
    }
}

/// Turns the marks since the last time into the minute of `now` (Unix seconds).
pub(crate) fn sweep(table: &Table, now: i64) {
    for (_, uses) in table.uses() {
        if uses.used.load(Relaxed) {
            uses.used.store(false, Relaxed);
            uses.last.store(now - now.rem_euclid(MINUTE), Relaxed);
        }
    }
}

/// What the agent has not been told: at most one report.
pub(crate) struct News {
    minute: i64,
    of: Vec<(Arc<Uses>, TokenUse)>,
}

impl News {
    /// Collects it at `now` (Unix seconds). Calls at foreign hosts are told once a minute for each token, because each time
    /// is a line of the region's audit log.
    pub(crate) fn collect(table: &Table, now: i64) -> Self {
        let minute = now.div_euclid(MINUTE);
        let new = |(digest, uses): (&Digest, &Arc<Uses>)| {
            let last = Some(uses.last.load(Relaxed)).filter(|last| *last > uses.told.load(Relaxed));
            let refused = if uses.foreign_host_told.load(Relaxed) == minute {
                0
            } else {
                uses.foreign_host.swap(0, Relaxed)
            };
            (last.is_some() || refused > 0).then(|| {
                let news = TokenUse {
                    sha256: bytes::Bytes::copy_from_slice(digest),
                    last_used_unix_s: last.unwrap_or(0),
                    foreign_host_calls: refused,
                };
                (uses.clone(), news)
            })
        };
        let of = table.uses().filter_map(new).take(MOST).collect();
        Self { minute, of }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub(crate) fn messages(&self) -> Vec<TokenUse> {
        self.of.iter().map(|(_, news)| news.clone()).collect()
    }

    /// The agent has it.
    pub(crate) fn told(self) {
        for (uses, news) in self.of {
            uses.told.fetch_max(news.last_used_unix_s, Relaxed);
            if news.foreign_host_calls > 0 {
                uses.foreign_host_told.store(self.minute, Relaxed);
            }
        }
    }

    /// The agent may not have it: it is told again.
    pub(crate) fn lost(self) {
        for (uses, news) in self.of {
            uses.foreign_host.fetch_add(news.foreign_host_calls, Relaxed);
        }
    }
}
