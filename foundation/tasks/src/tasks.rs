//! A set of named tasks with one owner. A panic in one is logged with its name and never takes the others down.
//!
//! Must never outlive its owner: dropping the set aborts what is left.

use std::time::Duration;

use tokio::task::JoinSet;

/// The tasks that did not end before the deadline; they were aborted.
#[derive(Debug, thiserror::Error)]
#[error("{count} task(s) did not end within {deadline:?} and were aborted")]
pub struct Overdue {
    /// How many were aborted.
    pub count: usize,
    /// How long they had.
    pub deadline: Duration,
}

/// Owner of tasks. Not shared: pass names and futures to whoever owns it.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
}

impl Tasks {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns `work` under `name` (kebab-case, for logs). Finished tasks are reaped here, so the set stays small.
    pub fn spawn<F>(&mut self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        while let Some(ended) = self.set.try_join_next() {
            report(ended);
        }
        self.set.spawn(named(name, work));
    }

    /// How many tasks have not been reaped yet.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether no task is left.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Returns as soon as any task ends; `None` when there is none. For owners whose tasks must not end by themselves.
    pub async fn any_ended(&mut self) -> Option<()> {
        self.set.join_next().await.map(report)
    }

    /// Waits for all tasks; those still running after `deadline` are aborted and counted.
    ///
    /// # Errors
    /// [`Overdue`] when any had to be aborted.
    pub async fn drain(mut self, deadline: Duration) -> Result<(), Overdue> {
        let all = async {
            while let Some(ended) = self.set.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(deadline, all).await.is_ok() {
            return Ok(());
        }
        let count = self.set.len();
        self.set.abort_all();
        Err(Overdue { count, deadline })
    }
}

async fn named<F: Future<Output = ()>>(name: &'static str, work: F) {
    let guard = PanicNote(name);
    work.await;
    std::mem::forget(guard);
}

/// Dropped only when the task panicked or was aborted; says which one it was.
struct PanicNote(&'static str);

impl Drop for PanicNote {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.0, "task panicked");
        }
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a supervised task ended by panic");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_takes_no_other_task_down() {
        let mut tasks = Tasks::new();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        tasks.spawn("bad", async { panic!("on purpose") });
        tasks.spawn("good", async move { sender.send(7).expect("receiver lives") });
        assert_eq!(receiver.await, Ok(7));
        tasks.drain(Duration::from_secs(1)).await.expect("both ended");
    }

    #[tokio::test]
    async fn drain_aborts_what_does_not_end() {
        let mut tasks = Tasks::new();
        tasks.spawn("stuck", std::future::pending());
        let overdue = tasks.drain(Duration::from_millis(10)).await.expect_err("stuck");
        assert_eq!(overdue.count, 1);
    }
}
