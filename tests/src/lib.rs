//! Harness for scenarios: the real processes in a folder of their own, their API, and a hand that kills.
//!
//! One idea: a scenario sees what an operator sees (files of the data folder, ports, exit codes, answers), so it holds
//! whatever the processes look like inside. It must never link a role, wait without a deadline, or leave a process.
#![allow(clippy::print_stderr)] // what a failed scenario leaves for people

pub mod api;
pub mod app;
pub mod cli;
pub mod disk;
pub mod load;
pub mod outside;
pub mod ports;
pub mod process;
pub mod system;

use std::{future::Future, time::Duration};

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// Asks again and again until the answer is there; fails with the last reason when the deadline has passed.
pub async fn until<T, F>(deadline: Duration, what: &str, mut ask: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let end = Instant::now() + deadline;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(reason) if Instant::now() >= end => bail!("{what}: not within {deadline:?}: {reason:#}"),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}
