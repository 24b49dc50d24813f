//! Why a supervisor cannot start, or cannot start a process.
//!
//! Must never carry what a child was told on its standard input.

use std::path::PathBuf;

use palladium_launch::exit;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error(transparent)]
    System(#[from] palladium_os::Error),
    /// The attestor's key cannot be used.
    #[error(transparent)]
    Attestor(#[from] palladium_identity::AttestorError),
    /// A key or the ledger cannot be read or written.
    #[error(transparent)]
    Sealed(#[from] palladium_sealing::Error),
    /// The configuration contradicts itself.
    #[error("configuration: {0}")]
    Config(String),
    /// Another supervisor works in this folder.
    #[error("a supervisor (process {pid}) already runs in this folder")]
    AlreadyRunning {
        /// Its pid; 0 when it has not noted it yet.
        pid: u32,
    },
    /// The Unix socket cannot be used.
    #[error("cannot serve on {}: {source}", path.display())]
    Socket {
        /// Where it should be.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A part of the supervisor broke.
    #[error("work of the supervisor ended by itself: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// Everything is being stopped.
    #[error("the supervisor is stopping")]
    Stopping,
}

impl Error {
    /// What the process should end with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => exit::USAGE,
            Self::System(_) | Self::AlreadyRunning { .. } | Self::Socket { .. } | Self::Sealed(_) => exit::UNAVAILABLE,
            Self::Attestor(_) | Self::Task(_) | Self::Stopping => exit::SOFTWARE,
        }
    }
}
