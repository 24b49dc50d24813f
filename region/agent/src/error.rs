//! Why the agent cannot run, and what that means to its parent.
//!
//! One idea: the variant decides the exit code, and by it the parent whether to attest again, to wait or to give up.
//! Must never hold a secret or a whole file: the text goes to the log.

use std::path::PathBuf;

use palladium_launch::exit;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration contradicts itself.
    #[error("agent configuration: {0}")]
    Config(String),
    /// The owner's file cannot be understood. Never guessed at: it bounds what the control plane may do.
    #[error("guard rails {}: {reason}", path.display())]
    GuardRails {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line where known.
        reason: String,
    },
    /// A file or folder of the agent.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A folder cannot be made or protected.
    #[error(transparent)]
    Folder(#[from] palladium_os::Error),
    /// A wrapped file cannot be opened or written.
    #[error(transparent)]
    Sealing(#[from] palladium_sealing::Error),
    /// A wrapped file holds something else than expected.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The attestor's key.
    #[error(transparent)]
    Attestor(#[from] palladium_identity::AttestorError),
    /// The launch envelope.
    #[error(transparent)]
    Envelope(#[from] palladium_launch::EnvelopeError),
    /// The own SVID.
    #[error(transparent)]
    Identity(#[from] palladium_identity::IdentityError),
    /// The listener's address is taken.
    #[error(transparent)]
    Listen(#[from] palladium_http::BindError),
    /// The listener ended by itself.
    #[error("the agent's listener ended: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// A part of the agent broke.
    #[error("work of the agent ended by itself: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// No ports are left for Dapr Servers.
    #[error("no free ports are left in {from}..={to}; widen app_ports")]
    Ports {
        /// First of the range.
        from: u16,
        /// Last.
        to: u16,
    },
    /// A token could not be made.
    #[error(transparent)]
    Randomness(#[from] palladium_launch::app_token::NoRandomness),
}

impl Error {
    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::GuardRails { .. } => exit::USAGE,
            Self::File { .. } | Self::Folder(_) | Self::Listen(_) | Self::Sealing(_) | Self::Ports { .. } => {
                exit::UNAVAILABLE
            }
            Self::Identity(error) => exit::without_identity(error),
            Self::Envelope(_) => exit::USAGE,
            _ => exit::SOFTWARE,
        }
    }
}

/// An I/O error with its file.
pub(crate) fn at(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}
