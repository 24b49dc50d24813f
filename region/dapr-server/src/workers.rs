//! The threads that answer requests: one current-thread runtime each, with listeners of its own on the same ports.
//!
//! One idea: a connection lives and dies on one thread, so nothing is handed between threads; the kernel spreads the
//! connections. Slow work of the process (components, health, streams to the agent) runs on the main thread's runtime,
//! which is also the first worker. Must never hand a connection to another thread.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::thread::JoinHandle;

/// What one worker does until the process stops.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many workers there are: one for each processor that this process may use.
pub fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A worker's runtime.
///
/// # Errors
/// When the operating system refuses a poller.
pub fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Starts threads for all but the first work, which is given back for the caller's own thread.
///
/// # Errors
/// When a thread or its runtime cannot be made.
pub fn spread(mut works: Vec<Work>) -> io::Result<(Option<Work>, Vec<JoinHandle<()>>)> {
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
