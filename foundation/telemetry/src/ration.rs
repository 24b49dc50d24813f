//! How often a line is logged that strangers can cause.
//!
//! One idea: the first is told at once, then one in each span, with the number of those that it stands for. Must never
//! keep anything per stranger.

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
    pub fn new(span: Duration) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

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
