//! When to renew: at half of the remaining life, give or take a tenth of it, by the wall clock.
//!
//! One idea: sleep in short steps and compare instants, never one long timer: timers stand still while a machine sleeps.

use std::time::{Duration, SystemTime};

use rand::Rng;

/// Longest step between two looks at the clock.
const STEP: Duration = Duration::from_secs(1);

/// The instants of one certificate's life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) renew_at: SystemTime,
    pub(crate) expires: SystemTime,
    /// How long to sleep between two looks at the clock.
    pub(crate) step: Duration,
}

impl Schedule {
    /// For a certificate received at `now` that ends at `expires`. Not-before plays no part: it may be back-dated.
    pub(crate) fn new(now: SystemTime, expires: SystemTime) -> Self {
        let left = expires.duration_since(now).unwrap_or_default();
        let share = rand::rng().random_range(0.4..0.6);
        Self {
            renew_at: now + left.mul_f64(share),
            expires,
            step: (left / 20).clamp(Duration::from_millis(20), STEP),
        }
    }
}

/// Unix seconds as a time.
pub(crate) fn at(unix_seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(unix_seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_life_with_jitter_and_short_steps_for_short_lives() {
        let now = SystemTime::now();
        let hour = Schedule::new(now, now + Duration::from_secs(3600));
        assert!(hour.renew_at >= now + Duration::from_secs(1440) && hour.renew_at <= now + Duration::from_secs(2160));
        assert_eq!(hour.step, Duration::from_secs(1));
        assert!(Schedule::new(now, now + Duration::from_secs(5)).step <= Duration::from_millis(250));
        assert!(Schedule::new(now, now - Duration::from_secs(5)).renew_at <= now);
    }
}
