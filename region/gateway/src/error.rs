//! Why a gateway cannot start or go on.
//!
//! One idea: the variant decides the exit code, and by it what the parent does. Must never carry a token or a request:
//! the text goes to the log.

use palladium_http::BindError;
use palladium_identity::IdentityError;

/// What ended the gateway.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used: exit code 64.
    #[error("configuration: {0}")]
    Config(String),
    /// No identity, or none any more; see [`palladium_launch::exit::without_identity`].
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A port cannot be listened on: exit code 69.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A file or folder cannot be read or written: exit code 69.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// What the operating system says.
        reason: String,
    },
    /// A worker thread could not be started, or ended by itself.
    #[error("worker {number}: {reason}")]
    Worker {
        /// Its number, from 0.
        number: usize,
        /// What happened.
        reason: String,
    },
}

impl Error {
    /// The exit code that tells a parent what to do, see [`palladium_launch::exit`].
    pub fn exit_code(&self) -> u8 {
        use palladium_launch::exit;
        match self {
            Self::Identity(error) => exit::without_identity(error),
            Self::Config(_) => exit::USAGE,
            Self::Bind(_) | Self::File { .. } => exit::UNAVAILABLE,
            Self::Worker { .. } => exit::SOFTWARE,
        }
    }
}
