//! How often a line is logged that strangers can cause.
//!
//! One idea: the first is told at once, then one in each span, with the number of those that it stands for. Must never
//! keep anything per stranger.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The ration of one kind of line.
#[derive(Debug)]
pub struct Ration {
    span: Duration,
    told: Option<Instant>,
    untold: u64,
}

impl Ration {
    /// One line in each `span`.
    pub const fn new(span: Duration) -> Self {
        Self {
            span,
            told: None,
            untold: 0,
        }
    }

    /// How many were not told since the last one that was; `None` when this one is not told either.
    pub fn tell(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.duration_since(told) < self.span) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// A [`Ration`] that all of a process share: for a `static` beside the line.
#[derive(Debug)]
pub struct SharedRation(Mutex<Ration>);

impl SharedRation {
    /// One line in each `span`.
    pub const fn new(span: Duration) -> Self {
        Self(Mutex::new(Ration::new(span)))
    }

    /// How many were not told since the last one that was; `None` when this one is not told either.
    pub fn tell(&self) -> Option<u64> {
        let mut ration = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ration.tell(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_process_share_a_line() {
        static LINE: SharedRation = SharedRation::new(Duration::from_secs(3600));
        let told = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| LINE.tell().is_some()));
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(told.iter().filter(|told| **told).count(), 1);
    }

    #[test]
    fn a_flood_is_a_line_in_each_span() {
        let (mut ration, start) = (Ration::new(Duration::from_secs(10)), Instant::now());
        let told = (0..100_000_u64).filter_map(|number| ration.tell(start + Duration::from_millis(number)));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [0, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999]
        );
    }
}
