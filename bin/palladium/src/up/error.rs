//! Why `palladium up` ends otherwise than by Ctrl-C, in words that say what to do.
//!
//! One idea: whoever typed `palladium up` reads the reason, the flag that helps and the end of the right log in one
//! place. Must never end with another code than the supervisor's when it was the supervisor that ended.

use std::path::PathBuf;
use std::time::Duration;

use palladium_launch::exit;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line asks for something impossible.
    #[error("{0}")]
    Usage(String),
    /// A port is taken.
    #[error("port {port} on 127.0.0.1 cannot be used ({source}); free it, or choose another with {flag}")]
    Port {
        /// Which.
        port: u16,
        /// The flag that changes it.
        flag: &'static str,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file of ours is not what we wrote.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused.
    #[error(transparent)]
    System(#[from] palladium_os::Error),
    /// Another `up` watches this installation.
    #[error("`palladium up` already runs over {} (process {pid}); stop that one first", folder.display())]
    AlreadyRunning {
        /// The data folder.
        folder: PathBuf,
        /// The other one.
        pid: u32,
    },
    /// The supervisor does not stay.
    #[error("the supervisor ended: {reason}\n{log}")]
    Supervisor {
        /// How.
        reason: String,
        /// The end of its log.
        log: String,
        /// What it said to its parent.
        code: u8,
    },
    /// Something did not get ready.
    #[error("{role} is not ready after {waited:.1?}: {reason}\n{log}")]
    NotReady {
        /// Which role.
        role: String,
        /// How long it had.
        waited: Duration,
        /// What the supervisor says about it.
        reason: String,
        /// Waiting longer is of no use.
        hopeless: bool,
        /// The end of its log.
        log: String,
    },
    /// Something still runs after an ordered stop.
    #[error("the supervisor (process {0}) does not stop; see its log")]
    Stuck(u32),
}

impl Error {
    /// What `up` ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit::USAGE,
            Self::Port { .. } | Self::File { .. } | Self::System(_) | Self::AlreadyRunning { .. } => exit::UNAVAILABLE,
            Self::Supervisor { code, .. } => *code,
            Self::Damaged { .. } | Self::NotReady { .. } | Self::Stuck(_) => exit::SOFTWARE,
        }
    }
}
