//! How often and after which pauses a call is repeated.
//!
//! One idea: a retry is a description; the pauses of one call are an iterator made from it. Must never give a pause without
//! a bound: a longest one, or a number of them, or a time.

use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::codes::Matching;

/// What a policy says about repeating.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Retry {
    pub(crate) pauses: Pauses,
    /// `None` = without end.
    pub(crate) most: Option<u64>,
    pub(crate) matching: Matching,
}

/// The pauses between the attempts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pauses {
    /// Always the same.
    Constant(Duration),
    /// Half as long again each time, give or take half of it.
    Exponential {
        first: Duration,
        longest: Duration,
        /// No further attempt after so long; `None` = without end.
        within: Option<Duration>,
    },
}

const FACTOR: f64 = 1.5;

impl Retry {
    /// A constant pause, so many times.
    pub(crate) fn constant(pause: Duration, most: u64) -> Self {
        Self {
            pauses: Pauses::Constant(pause),
            most: Some(most),
            matching: Matching::default(),
        }
    }

    /// Whether there is any.
    pub(crate) fn is_some(&self) -> bool {
        self.most != Some(0)
    }

    /// The pauses of one call.
    pub(crate) fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        let (pauses, most, started) = (self.pauses.clone(), self.most, Instant::now());
        let mut next = match &pauses {
            Pauses::Constant(pause) => *pause,
            Pauses::Exponential { first, .. } => *first,
        };
        let mut count = 0;
        std::iter::from_fn(move || {
            if most.is_some_and(|most| count >= most) {
                return None;
            }
            count += 1;
            match &pauses {
                Pauses::Constant(pause) => Some(*pause),
                Pauses::Exponential { longest, within, .. } => {
                    let pause = next.mul_f64(rand::rng().random_range(0.5..=1.5));
                    next = next.mul_f64(FACTOR).min(*longest);
                    let late = within.is_some_and(|within| started.elapsed() + pause > within);
                    (!late).then_some(pause)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn constant_pauses_end_by_number() {
        let retry = Retry::constant(Duration::from_millis(7), 3);
        assert_eq!(retry.pauses().collect::<Vec<_>>(), [Duration::from_millis(7); 3]);
        assert!(!Retry::constant(Duration::ZERO, 0).is_some());
    }

    proptest! {
        #[test]
        fn exponential_pauses_stay_within_their_bounds(first_ms in 1u64..1000, longest_ms in 1u64..5000) {
            let (first, longest) = (Duration::from_millis(first_ms), Duration::from_millis(longest_ms));
            let retry = Retry {
                pauses: Pauses::Exponential { first, longest, within: Some(Duration::from_secs(3600)) },
                most: Some(20),
                matching: Matching::default(),
            };
            let pauses: Vec<Duration> = retry.pauses().collect();
            prop_assert_eq!(pauses.len(), 20);
            for pause in pauses {
                prop_assert!(pause <= longest.max(first).mul_f64(1.5));
            }
        }
    }
}
