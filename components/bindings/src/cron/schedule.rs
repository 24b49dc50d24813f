//! When a schedule is due.
//!
//! One idea: `@every` counts from the last time; everything else is the library's, with or without seconds, in the local
//! time of the machine. Must never answer with a moment that is not in the future.

use std::str::FromStr as _;
use std::time::Duration;

use chrono::Local;
use croner::Cron;
use palladium_component::metadata::parse_duration;

/// A parsed schedule.
#[derive(Debug)]
pub(super) enum Schedule {
    Every(Duration),
    Cron(Box<Cron>),
}

impl Schedule {
    /// Reads `@every 5s`, `@daily`, or five or six fields.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(period) = text.strip_prefix("@every ") {
            let period = parse_duration(period, Duration::from_secs(1))?;
            // As in Dapr: whole seconds, one at least.
            return Ok(Self::Every(Duration::from_secs(period.as_secs().max(1))));
        }
        let cron = Cron::from_str(text).map_err(|error| error.to_string())?;
        Ok(Self::Cron(Box::new(cron)))
    }

    /// How long until it is due; `None` = never again.
    pub(super) fn next(&self) -> Option<Duration> {
        match self {
            Self::Every(period) => Some(*period),
            Self::Cron(cron) => {
                let now = Local::now();
                let next = cron.find_next_occurrence(&now, false).ok()?;
                Some((next - now).to_std().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_of_all_forms() {
        for (text, longest) in [
            ("@every 1h30m", 5400),
            ("@every 10ms", 1),
            ("@hourly", 3600),
            ("15 * * * * *", 60),
            ("*/5 * * * *", 300),
            ("0 30 9-17 * * MON-FRI", 4 * 86_400),
        ] {
            let next = Schedule::parse(text).unwrap().next().unwrap();
            assert!(next <= Duration::from_secs(longest), "{text}: {next:?}");
        }
        for wrong in ["", "@every", "@every x", "61 * * * *", "* * *"] {
            assert!(Schedule::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
