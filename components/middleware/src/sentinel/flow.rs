//! One flow rule at work.
//!
//! One idea: the threshold is the rule's, or less while it warms up; beyond it requests are refused or lined up at even
//! distances. Must never make a request wait longer than the rule says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use super::rules::FlowRule;
use super::window::Window;

/// What a rule says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Pass,
    Wait(Duration),
    Refuse,
}

/// The requests that passed.
pub(super) struct Count {
    window: Window<1>,
    /// The second that is being counted, what it has, and what the one before it had.
    second: u64,
    now: u64,
    before: u64,
}

impl Count {
    pub(super) fn new(interval_ms: u32, buckets: u32) -> Self {
        Self {
            window: Window::new(interval_ms, buckets),
            second: 0,
            now: 0,
            before: 0,
        }
    }

    pub(super) fn add(&mut self, now: Duration) {
        self.window.add(now, [1]);
        self.turn(now);
        self.now += 1;
    }

    fn turn(&mut self, now: Duration) {
        let second = now.as_secs();
        if second != self.second {
            self.before = if second == self.second + 1 { self.now } else { 0 };
            (self.second, self.now) = (second, 0);
        }
    }

    /// Requests of the second before this one.
    fn before(&mut self, now: Duration) -> u64 {
        self.turn(now);
        self.before
    }
}

/// A rule with what it remembers.
pub(super) struct Flow {
    threshold: f64,
    count: Arc<Mutex<Count>>,
    warm_up: Option<Mutex<WarmUp>>,
    /// `None` = what is too much is refused.
    line: Option<Mutex<Line>>,
}

impl Flow {
    pub(super) fn new(rule: &FlowRule, count: Arc<Mutex<Count>>) -> Self {
        let warm_up = (rule.token_calculate_strategy == 1).then(|| Mutex::new(WarmUp::new(rule)));
        let line = (rule.control_behavior == 1).then(|| {
            Mutex::new(Line {
                interval: Duration::from_millis(u64::from(rule.interval_ms())),
                longest: Duration::from_millis(u64::from(rule.max_queueing_time_ms)),
                last: None,
            })
        });
        Self {
            threshold: rule.threshold,
            count,
            warm_up,
            line,
        }
    }

    pub(super) fn check(&self, now: Duration) -> Said {
        let mut count = lock(&self.count);
        let threshold = match &self.warm_up {
            Some(warm_up) => lock(warm_up).allowed(now, count.before(now)),
            None => self.threshold,
        };
        let [passed] = count.window.sum(now);
        drop(count);
        match &self.line {
            Some(line) => lock(line).join(threshold, now),
            #[expect(clippy::cast_precision_loss, reason = "nobody counts that far")]
            None if (passed + 1) as f64 > threshold => Said::Refuse,
            None => Said::Pass,
        }
    }
}

/// Requests at even distances.
struct Line {
    /// In which the threshold is allowed.
    interval: Duration,
    longest: Duration,
    /// When the last one has its turn.
    last: Option<Duration>,
}

impl Line {
    fn join(&mut self, threshold: f64, now: Duration) -> Said {
        if threshold < 1.0 {
            return Said::Refuse;
        }
        let distance = self.interval.div_f64(threshold);
        let turn = match self.last {
            Some(last) if last + distance > now => last + distance,
            _ => now,
        };
        let wait = turn - now;
        if wait > self.longest {
            return Said::Refuse;
        }
        self.last = Some(turn);
        if wait.is_zero() { Said::Pass } else { Said::Wait(wait) }
    }
}

/// A threshold that starts low: Guava's token bucket, as Sentinel uses it. The more tokens lie unused, the colder it is.
struct WarmUp {
    threshold: f64,
    cold_factor: f64,
    warning: f64,
    most: f64,
    slope: f64,
    tokens: f64,
    /// The second in which they were last filled.
    filled: u64,
}

impl WarmUp {
    fn new(rule: &FlowRule) -> Self {
        // Sentinel's own when none is said.
        let cold_factor = if rule.warm_up_cold_factor == 0 {
            3.0
        } else {
            f64::from(rule.warm_up_cold_factor)
        };
        let filling = f64::from(rule.warm_up_period_sec) * rule.threshold;
        let warning = (filling / (cold_factor - 1.0)).floor();
        let above = (2.0 * filling / (1.0 + cold_factor)).floor().max(1.0);
        Self {
            threshold: rule.threshold,
            cold_factor,
            warning,
            most: warning + above,
            slope: (cold_factor - 1.0) / rule.threshold / above,
            tokens: warning + above,
            filled: 0,
        }
    }

    /// How many may pass now, when so many passed in the second before.
    #[expect(clippy::cast_precision_loss, reason = "nobody counts that far")]
    fn allowed(&mut self, now: Duration, before: u64) -> f64 {
        let second = now.as_secs();
        if second > self.filled {
            let idle = (before as f64) < (self.threshold / self.cold_factor).floor();
            if self.tokens < self.warning || self.tokens > self.warning && idle {
                self.tokens += (second - self.filled) as f64 * self.threshold;
            }
            self.tokens = (self.tokens.min(self.most) - before as f64).max(0.0);
            self.filled = second;
        }
        if self.tokens < self.warning {
            return self.threshold;
        }
        let allowed = 1.0 / ((self.tokens - self.warning) * self.slope + 1.0 / self.threshold);
        // What is whole on paper must not be a hair less.
        allowed * (1.0 + 1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentinel::rules;

    fn flow(more: &str) -> (Flow, Arc<Mutex<Count>>) {
        let text = format!(r#"[{{"resource":"GET:/a",{more}}}]"#);
        let rule = rules::flow(Some(&text)).unwrap().remove(0);
        let count = rule.count();
        (Flow::new(&rule, count.clone()), count)
    }

    fn passing((flow, count): &(Flow, Arc<Mutex<Count>>), now: Duration, tries: usize) -> usize {
        let passes = |_: &usize| {
            let passes = flow.check(now) == Said::Pass;
            if passes {
                lock(count).add(now);
            }
            passes
        };
        (0..tries).filter(passes).count()
    }

    #[test]
    fn so_many_in_an_interval() {
        let flow = flow(r#""threshold":10"#);
        let at = Duration::from_millis;
        assert_eq!(passing(&flow, at(0), 100), 10);
        assert_eq!(passing(&flow, at(999), 100), 0);
        assert_eq!(passing(&flow, at(1000), 100), 10);
        let slow = self::flow(r#""threshold":2,"statIntervalInMs":60000"#);
        assert_eq!(
            (
                passing(&slow, at(0), 9),
                passing(&slow, at(59_999), 9),
                passing(&slow, at(60_000), 9)
            ),
            (2, 0, 2)
        );
        assert_eq!(passing(&self::flow(r#""threshold":0"#), at(0), 9), 0);
    }

    #[test]
    fn a_line_at_even_distances_with_an_end() {
        let (flow, _) = flow(r#""threshold":10,"controlBehavior":1,"maxQueueingTimeMs":250"#);
        let at = Duration::from_millis;
        let said: Vec<Said> = (0..4).map(|_| flow.check(at(1000))).collect();
        assert_eq!(
            said,
            [Said::Pass, Said::Wait(at(100)), Said::Wait(at(200)), Said::Refuse]
        );
        assert_eq!(flow.check(at(1150)), Said::Wait(at(150)));
        assert_eq!(flow.check(at(5000)), Said::Pass);
    }

    #[test]
    fn it_warms_up() {
        let flow = flow(r#""threshold":30,"tokenCalculateStrategy":1,"warmUpPeriodSec":4,"warmUpColdFactor":3"#);
        let passed: Vec<usize> = (0..12)
            .map(|second| passing(&flow, Duration::from_secs(second), 100))
            .collect();
        assert_eq!(passed[0], 10, "cold: a third, {passed:?}");
        assert!(
            passed.windows(2).all(|pair| pair[0] <= pair[1]),
            "never colder, {passed:?}"
        );
        assert_eq!(passed[11], 30, "warm, {passed:?}");
    }
}
