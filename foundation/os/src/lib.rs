//! What only the operating system can do: start, watch and signal processes; limit and confine them; private files.
//!
//! One idea: a process is a pidfd, never a number, so that nobody signals or trusts a stranger who got a reused pid.
//! Anybody may depend on it; it knows nothing of Palladium. Start reading at [`Launch`] and [`Process`].
//! Servers run on Linux: process control exists only there; files, confinement and hardening compile everywhere and
//! say truthfully what they did not do. Must never run a shell.

mod confine;
pub mod files;
#[cfg(target_os = "linux")]
mod inspect;
#[cfg(target_os = "linux")]
mod launch;
pub mod logs;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod process;

pub use confine::{Confinement, Outcome, SYSTEM_READ, confine, harden};
#[cfg(target_os = "linux")]
pub use inspect::{Fingerprint, arguments, boot_id, processes_whose_arguments};
#[cfg(target_os = "linux")]
pub use launch::{Launch, Limits, Stdin};
#[cfg(target_os = "linux")]
pub use memory::give_back_after_start;
#[cfg(target_os = "linux")]
pub use process::{Exit, Process, Signal};

use std::io;
use std::path::PathBuf;

/// What the operating system refused, and on what.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation on a file or folder failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// A verb, such as "write".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A folder holds something already, and others may enter it.
    #[error(
        "{} is not empty and others may enter it (mode {mode:o}); choose another folder, or `chmod 700` it if it is for this alone",
        path.display()
    )]
    SharedFolder {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// An operation on a process failed.
    #[error("cannot {action} process {pid}: {source}")]
    Process {
        /// A verb, such as "signal".
        action: &'static str,
        /// Which process.
        pid: u32,
        /// What the operating system says.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// The executable.
        program: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// More bytes for standard input than a pipe holds: writing them could block for ever.
    #[error("standard input of a child takes at most {MAX_STDIN} bytes, not {0}")]
    StdinTooLarge(usize),
    /// The process could not protect itself.
    #[error("cannot {action}: {reason}")]
    Protect {
        /// What was tried.
        action: &'static str,
        /// What the operating system says.
        reason: String,
    },
}

/// Gives back what only starting needed: on this operating system nothing.
#[cfg(not(target_os = "linux"))]
pub async fn give_back_after_start() {}

/// What a Linux pipe holds at least without a reader.
pub const MAX_STDIN: usize = 64 * 1024;
