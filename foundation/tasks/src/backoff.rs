//! How long to wait before the next try: exponential between two bounds, with jitter so that many callers spread out.
//!
//! Must never sleep by itself: it only says how long.

use std::time::Duration;

use rand::Rng;

/// Doubles from `min` to `max`; each delay is drawn from its upper half.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// `min` must not be zero; `max` is the longest delay ever returned.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// The delay before the next try.
    pub fn next_delay(&mut self) -> Duration {
        let base = self.next;
        self.next = (base * 2).min(self.max);
        base.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// After a success: the next delay starts from `min` again.
    pub fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_bound_and_starts_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for bound in [100, 200, 400, 800, 1000, 1000] {
            let delay = backoff.next_delay();
            assert!(delay <= Duration::from_millis(bound) && delay >= Duration::from_millis(bound / 2));
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
