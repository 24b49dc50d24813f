//! How often, and with which pauses, a record is handed out again that was not handled.
//!
//! One idea: Dapr's `backOff…` settings: the same pause each time (5 s) or a growing one, without end unless said. Must never
//! come without a pause.

use std::time::Duration;

use palladium_component::metadata::Millis;

use crate::KafkaMetadata;

/// The least pause: one that always fails would go round at full speed otherwise.
const LEAST: Duration = Duration::from_millis(10);

/// The rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Again {
    first: Duration,
    most: Duration,
    factor: f64,
    /// How often; without end when absent.
    tries: Option<u32>,
}

impl Again {
    /// As a component says it.
    pub(crate) fn read(metadata: &KafkaMetadata) -> Self {
        // What is below 0 is as little as there is.
        let pause = |said: Millis| said.0.unwrap_or_default();
        let tries = u32::try_from(metadata.back_off_max_retries).ok();
        if metadata.back_off_policy.eq_ignore_ascii_case("exponential") {
            return Again {
                first: pause(metadata.back_off_initial_interval),
                most: pause(metadata.back_off_max_interval),
                factor: 1.5,
                tries,
            };
        }
        let pause = pause(metadata.back_off_duration);
        Again {
            first: pause,
            most: pause,
            factor: 1.0,
            tries,
        }
    }

    /// The pause before a try; the first one again is number 1. `None` when there were enough.
    pub(crate) fn pause(&self, number: u32) -> Option<Duration> {
        if self.tries.is_some_and(|tries| number > tries) {
            return None;
        }
        let grown = self.first.as_secs_f64() * self.factor.powf(f64::from(number.saturating_sub(1).min(1000)));
        let pause = Duration::try_from_secs_f64(grown).unwrap_or(self.most);
        Some(pause.min(self.most).max(LEAST))
    }
}

#[cfg(test)]
mod tests {
    use palladium_component::{ComponentMetadata as _, MetadataError, Properties};

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Again, MetadataError> {
        let all: Properties = [("brokers", "h:1")].iter().chain(pairs).copied().collect();
        KafkaMetadata::parse(&all).map(|metadata| Again::read(&metadata))
    }

    #[test]
    fn pauses_are_daprs() {
        let plain = read(&[]).unwrap();
        assert_eq!(plain.pause(1_000_000), Some(Duration::from_secs(5)));
        let short = read(&[("backOffDuration", "200"), ("backOffMaxRetries", "2")]).unwrap();
        let pauses = [1, 2, 3].map(|number| short.pause(number));
        assert_eq!(
            pauses,
            [Some(Duration::from_millis(200)), Some(Duration::from_millis(200)), None]
        );
        let growing = [
            ("backOffPolicy", "Exponential"),
            ("backOffMaxInterval", "1s"),
            ("backOffMaxRetries", "-1"),
        ];
        let growing = read(&growing).unwrap();
        assert_eq!(growing.pause(2), Some(Duration::from_millis(750)));
        assert_eq!(growing.pause(u32::MAX), Some(Duration::from_secs(1)));
        for least in ["0", "-1"] {
            assert_eq!(read(&[("backOffDuration", least)]).unwrap().pause(1), Some(LEAST));
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (name, value) in [
            ("backOffPolicy", "some"),
            ("backOffDuration", "x"),
            ("backOffMaxRetries", "x"),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err().field, name);
        }
    }
}
