//! The one signal that a process is to stop. Cloned into every loop that waits for anything.
//!
//! Must never be un-triggered: stopping is final for a process.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Cheap to clone; all clones see the same signal. A [`Shutdown::child`] can also be stopped alone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A signal that nobody has triggered yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Triggered by SIGTERM or SIGINT. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When the operating system refuses the signal handlers.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let trigger = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = trigger.wait() => {}
            }
            trigger.trigger();
        });
        Ok(shutdown)
    }

    /// Asks everything that waits on this signal to stop.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether stopping has been asked for.
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns once stopping has been asked for.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// A signal that is triggered with this one, but can be triggered alone.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Runs `work` until it ends or stopping is asked for; `None` in the second case.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.0.run_until_cancelled(work).await
    }

    /// As [`Shutdown::unless`], for work that can fail: stopping is one more failure, in the words of whoever asks.
    ///
    /// # Errors
    /// Those of `work`, and `stopped`.
    pub async fn try_unless<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
        stopped: impl FnOnce() -> E,
    ) -> Result<T, E> {
        self.unless(work).await.unwrap_or_else(|| Err(stopped()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn stopping_is_one_more_failure() {
        let stop = Shutdown::new();
        let work = async |outcome: Result<u8, &'static str>| stop.try_unless(ready(outcome), || "stopped").await;
        assert_eq!(work(Ok(1)).await, Ok(1));
        assert_eq!(work(Err("failed")).await, Err("failed"));
        let (never, stopping) = (pending::<Result<u8, &str>>(), async { stop.trigger() });
        let (cut, ()) = tokio::join!(stop.try_unless(never, || "stopped"), stopping);
        assert_eq!(cut, Err("stopped"));
    }
}
