//! What one call runs through.
//!
//! One idea: an empty policy is the call itself; otherwise timeout, breaker and retries wrap each other in that order. Must
//! never begin an attempt before the one before it is over.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::breaker::{Breaker, Refused};
use crate::retry::Retry;
use crate::table::{About, PolicyKind};

/// What a caller's error says about itself.
pub trait Failure {
    /// The status code, if it has one: HTTP (100 to 599) or gRPC (0 to 16).
    fn status_code(&self) -> Option<u16> {
        None
    }

    /// Whether trying again cannot help, whatever the policy says.
    fn is_permanent(&self) -> bool {
        false
    }
}

impl Failure for palladium_component::CallError {
    fn is_permanent(&self) -> bool {
        matches!(self, Self::NotSupported(_) | Self::Invalid(_))
    }
}

impl Failure for palladium_component::BindingError {
    fn is_permanent(&self) -> bool {
        self.error.is_permanent()
    }
}

/// How a policy ended a call. The words are the original's; whoever tells a caller takes them from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// The last attempt took longer than it may.
    #[error("context deadline exceeded")]
    Deadline,
    /// The circuit breaker is open.
    #[error("circuit breaker is open")]
    Open,
    /// The circuit breaker is half-open, and enough calls try already.
    #[error("too many requests")]
    TooMany,
}

/// Why a call did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub enum Failed<E> {
    /// The last attempt failed by itself.
    Operation(E),
    /// The policy ended it.
    Cut(Cut),
}

impl<E: fmt::Display> fmt::Display for Failed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(error) => error.fmt(f),
            Self::Cut(cut) => cut.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for Failed<E> {}

/// What one call runs through. The default is nothing: the call itself.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<Arc<Retry>>,
    pub(crate) breaker: Option<Arc<Breaker>>,
    /// Who is told what happens, and what about; `None` = nobody.
    pub(crate) about: Option<Arc<About>>,
    /// Whether an attempt that was given up is the last one.
    pub(crate) late_is_final: bool,
}

impl Policy {
    /// Whether it is the call itself.
    pub fn is_empty(&self) -> bool {
        self.timeout.is_none() && self.retry.is_none() && self.breaker.is_none()
    }

    /// Whether a call may be repeated: then its request must be kept.
    pub fn retries(&self) -> bool {
        self.retry.as_ref().is_some_and(|retry| retry.is_some())
    }

    /// The same without repeating, for a request that cannot be sent twice.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.retry = None;
        self
    }

    /// The same, but an attempt that took too long is not repeated: for what must not be done twice, and may have been done.
    #[must_use]
    pub fn final_when_late(mut self) -> Self {
        self.late_is_final = true;
        self
    }

    /// The pauses that a caller makes who repeats by itself; none without a retry.
    pub fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        self.retry.as_ref().map(|retry| retry.pauses()).into_iter().flatten()
    }

    /// Runs a call. `operation` gets the number of the attempt, from 1 on.
    ///
    /// # Errors
    /// See [`Failed`].
    pub async fn run<T, E, F>(&self, mut operation: impl FnMut(u32) -> F) -> Result<T, Failed<E>>
    where
        F: Future<Output = Result<T, E>>,
        E: Failure,
    {
        if self.is_empty() {
            return operation(1).await.map_err(Failed::Operation);
        }
        let mut pauses = self.retry.as_ref().map(|retry| retry.pauses());
        let (mut attempt, mut timed_out) = (1, false);
        loop {
            // Begun only when the breaker lets it: some operations are over as soon as they are called.
            let failed = match self.attempt(|| operation(attempt)).await {
                Ok(done) => {
                    if attempt > 1 {
                        tracing::info!(attempts = attempt, "Recovered processing operation");
                    }
                    return Ok(done);
                }
                Err(failed) => failed,
            };
            if matches!(failed, Failed::Cut(Cut::Deadline)) && !std::mem::replace(&mut timed_out, true) {
                self.activated(PolicyKind::Timeout, "");
            }
            let again = self.is_again(&failed);
            let Some(pause) = pauses.as_mut().filter(|_| again).and_then(Iterator::next) else {
                return Err(failed);
            };
            self.activated(PolicyKind::Retry, "");
            tracing::debug!(attempt, ?pause, "an operation failed and is repeated");
            sleep(pause).await;
            attempt = attempt.saturating_add(1);
        }
    }

    async fn attempt<T, E, F>(&self, operation: impl FnOnce() -> F) -> Result<T, Failed<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let Some(breaker) = &self.breaker else {
            return self.in_time(operation()).await;
        };
        let before = breaker.state();
        let begun = breaker.begin().map_err(|refused| match refused {
            Refused::Open => Failed::Cut(Cut::Open),
            Refused::TooMany => Failed::Cut(Cut::TooMany),
        })?;
        let outcome = self.in_time(operation()).await;
        begun.end(outcome.is_ok());
        let after = breaker.state();
        if before != after {
            self.activated(PolicyKind::CircuitBreaker, after.name());
        }
        outcome
    }

    async fn in_time<T, E>(&self, operation: impl Future<Output = Result<T, E>>) -> Result<T, Failed<E>> {
        let Some(limit) = self.timeout else {
            return operation.await.map_err(Failed::Operation);
        };
        match timeout(limit, operation).await {
            Ok(outcome) => outcome.map_err(Failed::Operation),
            Err(_) => Err(Failed::Cut(Cut::Deadline)),
        }
    }

    fn is_again<E: Failure>(&self, failed: &Failed<E>) -> bool {
        match failed {
            Failed::Cut(Cut::Deadline) => !self.late_is_final,
            Failed::Cut(Cut::Open | Cut::TooMany) => false,
            Failed::Operation(error) if error.is_permanent() => false,
            Failed::Operation(error) => match (error.status_code(), &self.retry) {
                (Some(code), Some(retry)) => retry.matching.retries(code),
                _ => true,
            },
        }
    }

    fn activated(&self, kind: PolicyKind, status: &str) {
        if let Some(about) = &self.about {
            about.observer.activated(about, kind, status);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::codes::Matching;

    #[derive(Debug, PartialEq, Eq)]
    struct Code(u16);

    impl Failure for Code {
        fn status_code(&self) -> Option<u16> {
            Some(self.0)
        }
        fn is_permanent(&self) -> bool {
            self.0 == 418
        }
    }

    fn policy(most: u64, http: &str) -> Policy {
        let mut retry = Retry::constant(Duration::from_millis(10), most);
        retry.matching = Matching::parse(http, "").unwrap();
        Policy {
            retry: Some(Arc::new(retry)),
            ..Policy::default()
        }
    }

    async fn attempts(policy: &Policy, code: u16) -> (u32, Result<(), Failed<Code>>) {
        let count = Cell::new(0);
        let outcome = policy.run(|attempt| {
            count.set(attempt);
            async move { if code == 200 { Ok(()) } else { Err(Code(code)) } }
        });
        let outcome = outcome.await;
        (count.get(), outcome)
    }

    #[tokio::test(start_paused = true)]
    async fn what_matches_is_repeated_and_the_last_failure_given_back() {
        let policy = policy(3, "500-599");
        assert_eq!(attempts(&policy, 200).await, (1, Ok(())));
        assert_eq!(attempts(&policy, 503).await, (4, Err(Failed::Operation(Code(503)))));
        assert_eq!(attempts(&policy, 404).await.0, 1);
        assert_eq!(attempts(&policy, 418).await.0, 1);
        assert_eq!(attempts(&policy.clone().once(), 503).await.0, 1);
        assert_eq!(attempts(&Policy::default(), 503).await.0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_attempt_is_repeated() {
        let policy = Policy {
            timeout: Some(Duration::from_secs(1)),
            ..policy(2, "")
        };
        let count = Cell::new(0);
        let outcome: Result<(), Failed<Code>> = policy
            .run(|attempt| {
                count.set(attempt);
                std::future::pending()
            })
            .await;
        assert_eq!((count.get(), outcome), (3, Err(Failed::Cut(Cut::Deadline))));
        let careful = policy.final_when_late();
        let once = careful.run(|attempt| {
            count.set(attempt);
            std::future::pending::<Result<(), Code>>()
        });
        let late = once
            .await
            .is_err_and(|failed| matches!(failed, Failed::Cut(Cut::Deadline)));
        assert!(late && count.get() == 1);
    }
}
