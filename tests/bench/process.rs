//! A server process as the kernel sees it: CPU time and memory from `/proc`.
//!
//! One idea: what the server itself cost, whatever else the machine did. It must never ask the server.

use std::fs;

use anyhow::{Context, Result};

/// Ticks per second of CPU times in `/proc`: a constant of Linux's interface on every architecture that we build for.
const TICKS: f64 = 100.0;

/// User and system time that these spent together since their starts.
pub fn cpu_seconds(processes: &[&Process]) -> Result<f64> {
    processes.iter().map(|process| process.cpu_seconds()).sum()
}

/// The process that is measured.
#[derive(PartialEq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
}

impl Process {
    /// User and system time of all threads since the start.
    fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name, in parentheses, may contain blanks; utime and stime are fields 14 and 15, the 12th and 13th behind it.
        let (_, fields) = stat.rsplit_once(") ").context("no name in /proc/…/stat")?;
        let ticks: Vec<f64> = fields
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|f| f.parse().ok())
            .collect();
        Ok(ticks.iter().sum::<f64>() / TICKS)
    }

    /// Resident memory.
    pub fn resident_megabytes(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes / 1024.0)
    }
}
