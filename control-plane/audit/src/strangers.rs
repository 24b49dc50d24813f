//! Requests of nobody in particular: counted, and a few of them recorded, so that a flood cannot fill the disk.
//!
//! The one idea: a fixed window; the first few are events of their own, the rest become one event with a count.
//!
//! Must never keep anything per stranger.

use std::sync::{Mutex, PoisonError};

const WINDOW_MILLIS: i64 = 60_000;
const RECORDED: u64 = 10;

/// What to do about one refused stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Record it.
    Record,
    /// It has been counted.
    Counted,
    /// Record it; and the window before had so many that were only counted.
    RecordAndSummarize(u64),
}

#[derive(Debug, Default)]
struct Window {
    began_at: i64,
    seen: u64,
}

/// The window.
#[derive(Debug, Default)]
pub struct Strangers(Mutex<Window>);

impl Strangers {
    /// Takes note of one; `now` in milliseconds since 1970.
    pub fn note(&self, now: i64) -> Note {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let summary = turn(&mut window, now);
        window.seen += 1;
        match summary {
            Some(counted) => Note::RecordAndSummarize(counted),
            None if window.seen <= RECORDED => Note::Record,
            None => Note::Counted,
        }
    }

    /// The count of a window that is over and has not been summarized; for a timer, so that the end of a flood is recorded too.
    pub fn due(&self, now: i64) -> Option<u64> {
        turn(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

/// Begins a new window when the old one is over; answers what the old one only counted.
fn turn(window: &mut Window, now: i64) -> Option<u64> {
    // A clock that was set back ends the window too.
    if (0..WINDOW_MILLIS).contains(&now.saturating_sub(window.began_at)) {
        return None;
    }
    let counted = window.seen.saturating_sub(RECORDED);
    *window = Window { began_at: now, seen: 0 };
    (counted > 0).then_some(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_128_a_flood_of_strangers_is_a_few_events_and_a_count() {
        let strangers = Strangers::default();
        let recorded = (0..100_000)
            .filter(|_| strangers.note(1_000_000) == Note::Record)
            .count();
        assert_eq!(recorded, 10);
        assert_eq!(strangers.due(1_000_000), None);
        assert_eq!(strangers.due(1_070_000), Some(99_990));
        assert_eq!(strangers.due(1_070_001), None);
        assert_eq!(strangers.note(1_080_000), Note::Record);
    }
}
