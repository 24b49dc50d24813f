//! The life of a process: when to stop, who owns which task, how long to wait before trying again, and the sign that it serves.
//!
//! One idea: no task is ever naked. Whoever spawns keeps a [`Tasks`]; everything in it ends when [`Shutdown`] is triggered,
//! within a deadline. Must never know what the tasks do.

mod backoff;
mod ready;
mod shutdown;
mod tasks;

pub use backoff::Backoff;
pub use ready::ReadyFile;
pub use shutdown::Shutdown;
pub use tasks::{Overdue, Tasks};
