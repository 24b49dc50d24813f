//! Why the control plane cannot start or go on, and what that means to its parent.
//!
//! Must never hold a secret: it is logged.

use palladium_identity::IdentityError;
use palladium_launch::exit;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration contradicts itself.
    #[error("control plane configuration: {0}")]
    Config(String),
    /// No identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A file or folder.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// What the operating system says.
        reason: String,
    },
    /// The public listener.
    #[error(transparent)]
    Bind(#[from] palladium_http::BindError),
    /// The region stream.
    #[error(transparent)]
    Regions(#[from] palladium_regions::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] palladium_control_store::Error),
    /// A key on disk.
    #[error("keys of the control plane: {0}")]
    Key(#[from] palladium_sealing::Error),
    /// The policy.
    #[error(transparent)]
    Policy(#[from] palladium_authz::Error),
    /// A part ended by itself.
    #[error("{0} ended by itself")]
    Ended(&'static str),
}

impl Error {
    /// The process's exit code; see `palladium_launch::exit`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => exit::USAGE,
            Self::Identity(error) => exit::without_identity(error),
            Self::File { .. } | Self::Bind(_) | Self::Key(_) => exit::UNAVAILABLE,
            Self::Regions(palladium_regions::Error::Listen(_)) => exit::UNAVAILABLE,
            Self::Store(palladium_control_store::Error::Storage { .. }) => exit::UNAVAILABLE,
            Self::Regions(_) | Self::Store(_) | Self::Policy(_) | Self::Ended(_) => exit::SOFTWARE,
        }
    }
}
