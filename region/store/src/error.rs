//! Why a store cannot start or go on.
//!
//! One idea: the variant decides the exit code, and by it what the parent does. Must never carry a key or a stored
//! value: the text goes to the log.

use palladium_http::BindError;
use palladium_identity::IdentityError;

/// What ended the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be used: exit code 64.
    #[error("configuration: {0}")]
    Config(String),
    /// No identity, or none any more; see [`palladium_launch::exit::without_identity`].
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The port cannot be listened on: exit code 69.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A file or folder cannot be read or written, or another store uses it: exit code 69.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The key-encryption key cannot be opened: exit code 69.
    #[error("key-encryption key: {0}")]
    Key(palladium_sealing::Error),
    /// The gRPC server ended by itself.
    #[error("the gRPC server ended: {0}")]
    Server(#[from] tonic::transport::Error),
}

impl Error {
    /// The exit code that tells a parent what to do, see [`palladium_launch::exit`].
    pub fn exit_code(&self) -> u8 {
        use palladium_launch::exit;
        match self {
            Self::Identity(error) => exit::without_identity(error),
            Self::Config(_) => exit::USAGE,
            Self::Bind(_) | Self::File { .. } | Self::Key(_) => exit::UNAVAILABLE,
            Self::Server(_) => exit::SOFTWARE,
        }
    }
}
