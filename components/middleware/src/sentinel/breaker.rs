//! A circuit breaker.
//!
//! One idea: while it is closed it counts; open it lets nobody pass until its time is over, and then somebody on probation,
//! whose end decides. Must never keep a probation that did not take place.

use std::time::Duration;

use super::rules::BreakerRule;
use super::window::Window;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Closed,
    /// Until then.
    Open(Duration),
    /// So many on probation have done well.
    HalfOpen(u64),
}

/// A rule with what it remembers.
pub(super) struct Breaker {
    strategy: Strategy,
    threshold: f64,
    least: u64,
    retry: Duration,
    probes: u64,
    /// Bad ones, and all.
    window: Window<2>,
    state: State,
}

#[derive(Clone, Copy)]
enum Strategy {
    SlowRatio(Duration),
    ErrorRatio,
    ErrorCount,
}

/// Whether all of them let a request pass.
pub(super) fn pass(breakers: &mut [Breaker], now: Duration) -> bool {
    let before: Vec<State> = breakers.iter().map(|breaker| breaker.state).collect();
    if breakers.iter_mut().all(|breaker| breaker.passes(now)) {
        return true;
    }
    // A probation for which another one did not let it pass.
    for (breaker, before) in breakers.iter_mut().zip(before) {
        breaker.state = before;
    }
    false
}

impl Breaker {
    pub(super) fn new(rule: &BreakerRule) -> Self {
        let strategy = match rule.strategy {
            0 => Strategy::SlowRatio(Duration::from_millis(rule.max_allowed_rt_ms)),
            1 => Strategy::ErrorRatio,
            _ => Strategy::ErrorCount,
        };
        Self {
            strategy,
            threshold: rule.threshold,
            least: rule.min_request_amount,
            retry: Duration::from_millis(u64::from(rule.retry_timeout_ms)),
            probes: rule.probe_num,
            window: Window::new(rule.stat_interval_ms, rule.buckets()),
            state: State::Closed,
        }
    }

    fn passes(&mut self, now: Duration) -> bool {
        match self.state {
            State::Closed => true,
            State::Open(until) if now >= until => {
                self.state = State::HalfOpen(0);
                true
            }
            State::Open(_) => false,
            State::HalfOpen(_) => self.probes > 0,
        }
    }

    /// A request that passed has ended.
    pub(super) fn ended(&mut self, took: Duration, failed: bool, now: Duration) {
        let is_bad = match self.strategy {
            Strategy::SlowRatio(longest) => took > longest,
            Strategy::ErrorRatio | Strategy::ErrorCount => failed,
        };
        self.window.add(now, [u64::from(is_bad), 1]);
        match self.state {
            State::Open(_) => {}
            State::HalfOpen(_) if is_bad => self.state = State::Open(now + self.retry),
            State::HalfOpen(done) if done + 1 >= self.probes => {
                self.state = State::Closed;
                self.window.clear();
            }
            State::HalfOpen(done) => self.state = State::HalfOpen(done + 1),
            State::Closed => {
                if self.is_too_much(now) {
                    self.state = State::Open(now + self.retry);
                }
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody counts that far")]
    fn is_too_much(&self, now: Duration) -> bool {
        let [bad, all] = self.window.sum(now);
        if all < self.least || all == 0 {
            return false;
        }
        match self.strategy {
            Strategy::ErrorCount => bad as f64 >= self.threshold.trunc(),
            Strategy::SlowRatio(_) | Strategy::ErrorRatio => bad as f64 / all as f64 >= self.threshold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentinel::rules;

    const FAST: Duration = Duration::from_millis(1);
    const SLOW: Duration = Duration::from_millis(60);

    fn breaker(more: &str) -> Vec<Breaker> {
        let base = r#""resource":"GET:/a","retryTimeoutMs":3000,"minRequestAmount":4,"statIntervalMs":1000"#;
        let text = format!("[{{{base},{more}}}]");
        rules::breakers(Some(&text)).unwrap().iter().map(Breaker::new).collect()
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn too_many_errors_open_it_and_a_good_probe_closes_it() {
        for more in [r#""strategy":1,"threshold":0.5"#, r#""strategy":2,"threshold":2"#] {
            let mut all = breaker(more);
            for failed in [true, false, true] {
                all[0].ended(FAST, failed, at(0));
            }
            assert!(pass(&mut all, at(1)), "too few to tell");
            all[0].ended(FAST, false, at(1));
            assert!(!pass(&mut all, at(2)) && !pass(&mut all, at(3000)), "open");
            assert!(
                pass(&mut all, at(3001)) && !pass(&mut all, at(3001)),
                "one on probation"
            );
            all[0].ended(FAST, true, at(3002));
            assert!(!pass(&mut all, at(6001)), "it did not do well");
            assert!(pass(&mut all, at(6002)));
            all[0].ended(FAST, false, at(6003));
            assert!(pass(&mut all, at(6004)) && pass(&mut all, at(6004)), "closed");
        }
    }

    #[test]
    fn slow_ones_open_it_and_probes_are_counted() {
        let mut all = breaker(r#""strategy":0,"maxAllowedRtMs":50,"threshold":0.5,"probeNum":2"#);
        for took in [SLOW, FAST, SLOW, FAST] {
            all[0].ended(took, true, at(0));
        }
        assert!(!pass(&mut all, at(1)));
        assert!(pass(&mut all, at(3000)) && pass(&mut all, at(3000)));
        all[0].ended(FAST, false, at(3001));
        assert_eq!(all[0].state, State::HalfOpen(1));
        all[0].ended(FAST, false, at(3002));
        assert_eq!(all[0].state, State::Closed);
    }

    #[test]
    fn a_probation_that_another_one_prevents_is_taken_back() {
        let mut all = breaker(r#""strategy":2,"threshold":1"#);
        all.extend(breaker(r#""strategy":2,"threshold":1"#));
        (all[0].state, all[1].state) = (State::Open(at(0)), State::Open(at(10)));
        assert!(!pass(&mut all, at(5)));
        assert_eq!(all[0].state, State::Open(at(0)));
        assert!(pass(&mut all, at(10)));
    }
}
