//! Keeps calls from what does not work just now.
//!
//! One idea: closed lets calls through and counts; when the expression over the counts is true after a failure, it opens and
//! refuses for a while; then a few calls may try (half-open), and as many successes close it, one failure opens it. A call
//! that was given up counts as a failure. Must never hold its lock while a call is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cel::common::ast::Expr;
use cel::{Context, Program, Value};
use tokio::time::Instant;

/// How a circuit breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Calls go through.
    Closed,
    /// A few calls may try.
    HalfOpen,
    /// Calls are refused.
    Open,
}

impl State {
    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::HalfOpen => "half-open",
            State::Open => "open",
        }
    }
}

/// What a circuit breaker is like.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    /// Calls that may try at a time when half-open, and successes that close it.
    pub(crate) most: u32,
    /// How often the counts begin anew while it is closed; zero = never.
    pub(crate) interval: Duration,
    /// How long it stays open.
    pub(crate) timeout: Duration,
    pub(crate) trip: Trip,
}

/// When it opens.
#[derive(Clone, Default)]
pub(crate) struct Trip(Option<Arc<Program>>);

impl std::fmt::Debug for Trip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() {
            "Trip(expression)"
        } else {
            "Trip(default)"
        })
    }
}

/// Longest expression in bytes.
const LONGEST: usize = 1024;
/// How deep it may be nested: the library calls itself as often.
const LEVELS: usize = 100;

impl Trip {
    /// An expression (CEL) over `requests`, `totalSuccesses`, `totalFailures`, `consecutiveSuccesses` and
    /// `consecutiveFailures`; empty = more than five failures in a row.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self(None));
        }
        if text.len() > LONGEST {
            return Err(format!("the expression is longer than {LONGEST} bytes"));
        }
        // The library was seen to panic on texts that are no expressions.
        let parsed = std::panic::catch_unwind(|| Program::compile(text).map_err(|error| error.to_string()));
        let program = parsed.map_err(|_| "the expression cannot be read".to_owned())??;
        if !is_plain(&program.expression().expr, LEVELS) {
            return Err("only numbers, the counts and operators are allowed".to_owned());
        }
        let trip = Self(Some(Arc::new(program)));
        trip.judge(&Counts::default())
            .ok_or("the expression is not true or false")?;
        Ok(trip)
    }

    /// Whether it opens; `None` when the expression gives something else.
    fn judge(&self, counts: &Counts) -> Option<bool> {
        let Some(program) = &self.0 else {
            return Some(counts.consecutive_failures > 5);
        };
        let evaluated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut context = Context::default();
            for (name, count) in [
                ("requests", counts.requests),
                ("totalSuccesses", counts.total_successes),
                ("totalFailures", counts.total_failures),
                ("consecutiveSuccesses", counts.consecutive_successes),
                ("consecutiveFailures", counts.consecutive_failures),
            ] {
                context.add_variable_from_value(name, i64::from(count));
            }
            program.execute(&context)
        }));
        match evaluated {
            Ok(Ok(Value::Bool(answer))) => Some(answer),
            _ => None,
        }
    }
}

/// Whether its cost is that of its length: it is judged at every failure, and loops over lists or texts would have no bound.
fn is_plain(expression: &Expr, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else {
        return false;
    };
    match expression {
        Expr::Literal(_) | Expr::Ident(_) => true,
        Expr::Call(call) => call.target.is_none() && call.args.iter().all(|part| is_plain(&part.expr, levels)),
        _ => false,
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    requests: u32,
    total_successes: u32,
    total_failures: u32,
    consecutive_successes: u32,
    consecutive_failures: u32,
}

/// One circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    name: String,
    template: Template,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// Grows with every change: what a call began in.
    generation: u64,
    counts: Counts,
    /// When the counts begin anew (closed) or calls may try (open).
    expiry: Option<Instant>,
}

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Open,
    TooMany,
}

impl Breaker {
    pub(crate) fn new(name: &str, template: &Template) -> Self {
        let breaker = Self {
            name: name.to_owned(),
            template: template.clone(),
            inner: Mutex::new(Inner {
                state: State::Closed,
                generation: 0,
                counts: Counts::default(),
                expiry: None,
            }),
        };
        breaker.enter(&mut breaker.lock(), State::Closed);
        breaker
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands now.
    pub fn state(&self) -> State {
        let mut inner = self.lock();
        self.tick(&mut inner);
        inner.state
    }

    /// Begins a state anew.
    fn enter(&self, inner: &mut Inner, state: State) {
        let now = Instant::now();
        inner.state = state;
        inner.generation += 1;
        inner.counts = Counts::default();
        inner.expiry = match state {
            State::Closed => Some(self.template.interval)
                .filter(|interval| !interval.is_zero())
                .and_then(|after| now.checked_add(after)),
            State::Open => now.checked_add(self.template.timeout),
            State::HalfOpen => None,
        };
    }

    fn change(&self, inner: &mut Inner, state: State) {
        let from = inner.state;
        self.enter(inner, state);
        let (name, from, to) = (&self.name, from.name(), state.name());
        tracing::info!("Circuit breaker \"{name}\" changed state from {from} to {to}");
    }

    /// What the time alone changes.
    fn tick(&self, inner: &mut Inner) {
        if inner.expiry.is_some_and(|expiry| expiry <= Instant::now()) {
            match inner.state {
                State::Closed => self.enter(inner, State::Closed),
                State::Open => self.change(inner, State::HalfOpen),
                State::HalfOpen => {}
            }
        }
    }

    /// Lets a call through, or not.
    pub(crate) fn begin(&self) -> Result<Begun<'_>, Refused> {
        let mut inner = self.lock();
        self.tick(&mut inner);
        match inner.state {
            State::Open => return Err(Refused::Open),
            State::HalfOpen if inner.counts.requests >= self.template.most => return Err(Refused::TooMany),
            _ => {}
        }
        inner.counts.requests += 1;
        Ok(Begun {
            breaker: self,
            generation: inner.generation,
            told: false,
        })
    }

    fn end(&self, generation: u64, success: bool) {
        let mut inner = self.lock();
        self.tick(&mut inner);
        if inner.generation != generation {
            return;
        }
        let counts = &mut inner.counts;
        if success {
            counts.total_successes += 1;
            counts.consecutive_successes += 1;
            counts.consecutive_failures = 0;
            if inner.state == State::HalfOpen && inner.counts.consecutive_successes >= self.template.most {
                self.change(&mut inner, State::Closed);
            }
            return;
        }
        counts.total_failures += 1;
        counts.consecutive_failures += 1;
        counts.consecutive_successes = 0;
        let opens = match inner.state {
            State::HalfOpen => true,
            _ => self.template.trip.judge(&inner.counts).unwrap_or(false),
        };
        if opens {
            self.change(&mut inner, State::Open);
        }
    }
}

/// A call under way. Given up without a word, it is a failure.
pub(crate) struct Begun<'a> {
    breaker: &'a Breaker,
    generation: u64,
    told: bool,
}

impl Begun<'_> {
    pub(crate) fn end(mut self, success: bool) {
        self.told = true;
        self.breaker.end(self.generation, success);
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.breaker.end(self.generation, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn breaker(trip: &str) -> Breaker {
        let template = Template {
            most: 2,
            interval: Duration::ZERO,
            timeout: Duration::from_secs(5),
            trip: Trip::parse(trip).unwrap(),
        };
        Breaker::new("test", &template)
    }

    fn call(breaker: &Breaker, success: bool) -> bool {
        breaker.begin().map(|begun| begun.end(success)).is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_tries_and_closes() {
        let breaker = breaker("consecutiveFailures >= 3");
        assert!(
            call(&breaker, false) && call(&breaker, false) && call(&breaker, true),
            "a success between"
        );
        assert!((0..3).all(|_| call(&breaker, false)));
        assert_eq!(breaker.state(), State::Open);
        assert!(!call(&breaker, true), "refused");
        advance(Duration::from_secs(5)).await;
        assert_eq!(breaker.state(), State::HalfOpen);
        let (one, two) = (breaker.begin().unwrap(), breaker.begin().unwrap());
        assert_eq!(breaker.begin().map(|_| ()), Err(Refused::TooMany));
        one.end(true);
        assert_eq!(breaker.state(), State::HalfOpen);
        two.end(true);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_or_a_call_given_up_opens_it_again() {
        let breaker = breaker("");
        assert!((0..6).all(|_| call(&breaker, false)));
        assert_eq!(breaker.state(), State::Open);
        advance(Duration::from_secs(6)).await;
        drop(breaker.begin().unwrap());
        assert_eq!(breaker.state(), State::Open);
    }

    #[test]
    fn only_conditions_are_expressions() {
        for wrong in [
            "1 +",
            "requests",
            "[1].exists(x, x == requests)",
            "'a'",
            "nobody > 1",
            "((((",
            &"1".repeat(LONGEST + 1),
        ] {
            assert!(Trip::parse(wrong).is_err(), "{wrong}");
        }
        let trip = Trip::parse("requests > 3 && totalFailures * 2 >= requests").unwrap();
        let counts = Counts {
            requests: 4,
            total_failures: 2,
            ..Counts::default()
        };
        assert_eq!(trip.judge(&counts), Some(true));
    }
}
