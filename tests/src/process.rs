//! Processes by what they were started with, and signals for them.
//!
//! One idea: a process is known by its command line, which everybody may read, unlike the link to its program. Must never
//! touch one that is not ours.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// A role that cannot come back as long as this lives.
#[must_use]
pub struct Dead {
    over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Dead {
    /// Ends every process that names this path, again and again.
    pub fn keep(path: PathBuf) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let watched = over.clone();
        let thread = thread::spawn(move || {
            while !watched.load(Ordering::Relaxed) {
                for pid in naming(&path) {
                    // It may have ended by itself.
                    let _ = signal(pid, Signal::KILL);
                }
                thread::park_timeout(Duration::from_millis(20));
            }
        });
        Self {
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Our processes that have this path, or one below it, on their command line.
pub fn naming(path: &Path) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| names(*pid, path)).collect()
}

/// Whether it is a program of ours with this path, or one below it, on its command line.
pub fn names(pid: u32, path: &Path) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line
        .split(|byte| *byte == 0)
        .map(|word| Path::new(OsStr::from_bytes(word)));
    let ours = words
        .next()
        .and_then(Path::file_name)
        .is_some_and(|name| name.as_bytes().starts_with(b"palladium"));
    ours && words.any(|word| word.starts_with(path))
}

/// Sends a signal to whoever has this pid now.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("process 0")?;
    Ok(kill_process(pid, signal)?)
}

/// Whether there is such a process; one that was not reaped counts.
pub fn alive(pid: u32) -> bool {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .is_some_and(|pid| test_kill_process(pid).is_ok())
}
