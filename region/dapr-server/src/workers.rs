//! The threads that answer requests: one current-thread runtime each, with listeners of its own on the same ports.
//!
//! One idea: a connection lives and dies on one thread, so nothing is handed between threads; the kernel spreads the
//! connections. Only connections to applications and peers are used by all: so no runtime ends before the last work is done,
//! for what it drives may be in use elsewhere. Slow work of the process (components, health, streams to the agent) runs on the main thread's runtime,
//! which is also the first worker. Must never hand a connection to another thread.

use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::thread::JoinHandle;

use palladium_tasks::{Shutdown, Tasks};
use tokio::sync::watch;

/// What one worker does until the process stops.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many workers there are: one for each processor that this process may use.
pub fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A worker's runtime.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Runs what the main thread does, on a runtime of its own.
///
/// What ends with an error ends the process while other threads may still have calls under way, over connections that this
/// runtime drives. It is left as it is then: these calls are cut off with the process, where otherwise their callers would be
/// told that the application had failed.
///
/// # Errors
/// Those of `work`, and when the operating system refuses a poller.
pub fn run<T, E: From<io::Error>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = ManuallyDrop::new(runtime()?);
    let outcome = runtime.block_on(work);
    if outcome.is_ok() {
        drop(ManuallyDrop::into_inner(runtime));
    }
    outcome
}

/// Starts threads for all but the first work, which is given back for the caller's own thread.
///
/// # Errors
/// When a thread or its runtime cannot be made.
pub fn spread(works: Vec<Work>) -> io::Result<(Option<Work>, Vec<JoinHandle<()>>)> {
    // Its last sender goes with the last work, however that ends.
    let (left, all) = watch::channel(());
    let together = works.into_iter().map(|work| {
        let (left, mut all) = (left.clone(), all.clone());
        let work: Work = Box::pin(async move {
            work.await;
            drop(left);
            while all.changed().await.is_ok() {}
        });
        work
    });
    let mut works: Vec<Work> = together.collect();
    drop(left);
    let rest = works.split_off(works.len().min(1));
    let mut threads = Vec::with_capacity(rest.len());
    for (number, work) in rest.into_iter().enumerate() {
        let runtime = runtime()?;
        let name = format!("worker-{}", number + 1);
        threads.push(
            std::thread::Builder::new()
                .name(name)
                .spawn(move || runtime.block_on(work))?,
        );
    }
    Ok((works.pop(), threads))
}

/// Has what only starting needed given back once it is over, unless the process stops before.
pub fn give_back_after_start(tasks: &mut Tasks, stop: Shutdown) {
    tasks.spawn("start-up-pages", async move {
        let _ = stop.unless(palladium_os::give_back_after_start()).await;
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::{sleep, timeout};

    use super::*;

    #[test]
    fn what_the_main_thread_drives_outlives_an_end_by_an_error() {
        struct Told(Arc<AtomicBool>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let driven = |outcome: io::Result<()>| {
            let is_dropped = Arc::new(AtomicBool::new(false));
            let told = Told(is_dropped.clone());
            let ended = run(async move {
                tokio::spawn(async move {
                    std::future::pending::<()>().await;
                    drop(told);
                });
                tokio::task::yield_now().await;
                outcome
            });
            (ended.is_ok(), is_dropped.load(Ordering::SeqCst))
        };
        assert_eq!(driven(Ok(())), (true, true));
        assert_eq!(driven(Err(io::Error::other("overdue"))), (false, false));
    }

    #[tokio::test]
    async fn no_runtime_ends_before_the_last_work() {
        let (end, ended) = oneshot::channel::<()>();
        let seen = Arc::new(AtomicBool::new(false));
        let flag = seen.clone();
        let quick: Work = Box::pin(async move {
            // Something that another worker still uses.
            tokio::spawn(async move {
                let _ = ended.await;
                flag.store(true, Ordering::SeqCst);
            });
        });
        let (used, user) = (seen.clone(), Duration::from_millis(5));
        let slow: Work = Box::pin(async move {
            let _ = end.send(());
            while !used.load(Ordering::SeqCst) {
                sleep(user).await;
            }
        });
        let (first, threads) = spread(vec![slow, quick]).unwrap();
        timeout(Duration::from_secs(20), first.unwrap()).await.expect("it ends");
        assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
    }
}
