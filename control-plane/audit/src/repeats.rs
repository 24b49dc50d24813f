//! Attempts of known callers that came to nothing: counted, and the first few recorded each, so that the holder of the
//! weakest key cannot fill the disk either.
//!
//! The one idea: a fixed window for each caller, action and outcome; its first few are events of their own, the rest become
//! one event with a count, which a timer takes out when the window is over.
//!
//! Must never keep more than a bounded number of windows, nor lose a count.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use palladium_kinds::audit_event::{AuditActor, AuditEvent};

use crate::event::{Outcome, Record};

const WINDOW_MILLIS: i64 = 60_000;
const RECORDED: u64 = 10;
/// Callers beyond that share one window for each action and outcome.
const MOST: usize = 1_000;

/// Id of the caller, action, outcome.
type Key = (String, &'static str, Outcome);

struct Window {
    began_at: i64,
    seen: u64,
    actor: AuditActor,
    status: u16,
}

/// The windows.
#[derive(Default)]
pub struct Repeats(Mutex<HashMap<Key, Window>>);

impl Repeats {
    /// Takes note of one attempt; whether it is recorded by itself. `now` in milliseconds since 1970.
    pub fn note(&self, record: &Record, outcome: Outcome, status: u16, now: i64) -> bool {
        let mut windows = self.windows();
        let mut key = (record.actor.id.clone(), record.action, outcome);
        let mut actor = record.actor.clone();
        if windows.len() >= MOST && !windows.contains_key(&key) {
            (key.0, actor) = (String::new(), AuditActor::default());
        }
        let window = windows.entry(key).or_insert_with(|| Window {
            began_at: now,
            seen: 0,
            actor,
            status,
        });
        // What was only counted goes on being counted until the timer has taken it out.
        if is_over(window, now) && window.seen <= RECORDED {
            (window.began_at, window.seen) = (now, 0);
        }
        window.seen += 1;
        window.status = status;
        window.seen <= RECORDED
    }

    /// Events for what was only counted in the windows that are over; of all of them when `now` is the end of time.
    pub fn due(&self, now: i64) -> Vec<AuditEvent> {
        let mut events = Vec::new();
        self.windows().retain(|(_, action, outcome), window| {
            let over = is_over(window, now);
            let counted = window.seen.saturating_sub(RECORDED);
            if over && counted > 0 {
                let record = Record {
                    actor: window.actor.clone(),
                    action,
                    resource: Default::default(),
                    source: Default::default(),
                };
                events.push(AuditEvent {
                    count: counted,
                    ..record.event(
                        *outcome,
                        window.status,
                        "further attempts of the same caller within a minute",
                    )
                });
            }
            !over
        });
        events
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<Key, Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that was set back ends the window too.
fn is_over(window: &Window, now: i64) -> bool {
    !(0..WINDOW_MILLIS).contains(&now.saturating_sub(window.began_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str, action: &'static str) -> Record {
        Record {
            actor: AuditActor {
                kind: "apikey".into(),
                id: id.into(),
                ..AuditActor::default()
            },
            action,
            resource: Default::default(),
            source: Default::default(),
        }
    }

    #[test]
    fn sec_128_the_refusals_of_one_caller_are_a_few_events_and_a_count() {
        let repeats = Repeats::default();
        let (ann, bob) = (of("key-ann", "appids.create"), of("key-bob", "appids.create"));
        let recorded = (0..5_000).filter(|_| repeats.note(&ann, Outcome::Refused, 403, 1_000));
        assert_eq!(recorded.count(), 10);
        // Others, other actions and other ends are not hidden behind it.
        assert!(repeats.note(&bob, Outcome::Refused, 403, 1_000));
        assert!(repeats.note(&of("key-ann", "appids.delete"), Outcome::Refused, 403, 1_000));
        assert!(repeats.note(&ann, Outcome::Failed, 409, 1_000));
        assert!(repeats.due(60_000).is_empty());
        // Late, the timer still finds all of them.
        assert!(!repeats.note(&ann, Outcome::Refused, 403, 62_000));
        let events = repeats.due(62_000);
        assert_eq!(events.len(), 1);
        let event = &events[0];
        assert_eq!(
            (
                event.count,
                event.status,
                event.actor.id.as_str(),
                event.action.as_str(),
                event.outcome.as_str()
            ),
            (4_991, 403, "key-ann", "appids.create", "refused")
        );
        assert!(repeats.due(i64::MAX).is_empty() && repeats.windows().is_empty());
        assert!(repeats.note(&ann, Outcome::Refused, 403, 63_000));
    }

    #[test]
    fn sec_128_however_many_callers_there_are_memory_and_log_stay_small() {
        let repeats = Repeats::default();
        let recorded =
            (0..10_000).filter(|n| repeats.note(&of(&format!("key-{n}"), "a"), Outcome::Refused, 403, 1_000));
        assert_eq!(recorded.count(), MOST + 10);
        assert_eq!(repeats.windows().len(), MOST + 1);
        let counted: u64 = repeats.due(i64::MAX).iter().map(|event| event.count).sum();
        assert_eq!(counted, 10_000 - 1_010);
    }
}
