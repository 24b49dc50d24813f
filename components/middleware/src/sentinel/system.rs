//! The rules for all requests together.
//!
//! Must never count a request that did not pass.

use std::time::Duration;

use super::rules::SystemRule;
use super::window::Window;

pub(super) struct System {
    rules: Vec<SystemRule>,
    running: u64,
    /// Of the last second: begun, ended, and the milliseconds that the ended ones took.
    window: Window<3>,
}

impl System {
    /// `None` without rules.
    pub(super) fn new(rules: Vec<SystemRule>) -> Option<Self> {
        (!rules.is_empty()).then(|| Self {
            rules,
            running: 0,
            window: Window::new(1000, 2),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody counts that far")]
    pub(super) fn passes(&self, now: Duration) -> bool {
        let [begun, ended, took] = self.window.sum(now);
        self.rules.iter().all(|rule| {
            let is = match rule.metric_type {
                1 if ended == 0 => 0.0,
                1 => took as f64 / ended as f64,
                2 => self.running as f64,
                _ => begun as f64,
            };
            is < rule.trigger_count
        })
    }

    pub(super) fn entered(&mut self, now: Duration) {
        self.running += 1;
        self.window.add(now, [1, 0, 0]);
    }

    pub(super) fn ended(&mut self, took: Duration, now: Duration) {
        self.running = self.running.saturating_sub(1);
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.window.add(now, [0, 1, took]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentinel::rules;

    #[test]
    fn mean_time_number_and_rate() {
        let system = |rule: &str| System::new(rules::system(Some(rule)).unwrap()).unwrap();
        let at = Duration::from_millis;
        let mut rate = system(r#"[{"metricType":3,"triggerCount":2}]"#);
        rate.entered(at(0));
        assert!(rate.passes(at(1)));
        rate.entered(at(1));
        assert!(!rate.passes(at(2)) && rate.passes(at(1000)));
        let mut many = system(r#"[{"metricType":2,"triggerCount":1}]"#);
        many.entered(at(0));
        assert!(!many.passes(at(5000)));
        many.ended(at(1), at(5000));
        assert!(many.passes(at(5000)));
        let mut slow = system(r#"[{"metricType":1,"triggerCount":50,"strategy":-1}]"#);
        slow.ended(at(100), at(0));
        assert!(!slow.passes(at(0)));
        slow.ended(at(0), at(1));
        slow.ended(at(0), at(1));
        assert!(slow.passes(at(1)));
    }
}
