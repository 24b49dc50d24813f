//! Why a Sentry cannot start or go on.
//!
//! Never about a caller: those are refusals.

use std::path::PathBuf;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Configuration or flags cannot be used: exit code 64.
    #[error("configuration: {0}")]
    Config(String),
    /// A port cannot be listened on: exit code 69.
    #[error(transparent)]
    Listen(#[from] palladium_http::BindError),
    /// A file or folder cannot be read or written: exit code 69.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A file cannot be written: exit code 69.
    #[error(transparent)]
    Write(#[from] palladium_os::Error),
    /// The keys cannot be opened or written: exit code 69.
    #[error(transparent)]
    Sealing(#[from] palladium_sealing::Error),
    /// The authority's own certificates are unusable.
    #[error("certificate authority: {0}")]
    Authority(String),
    /// A part of Sentry broke.
    #[error("work of Sentry ended by itself: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// A server ended by itself.
    #[error("server: {0}")]
    Serve(#[from] tonic::transport::Error),
}

impl Error {
    /// The exit code that a parent understands.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 64,
            Self::Listen(_) | Self::File { .. } | Self::Write(_) | Self::Sealing(_) => 69,
            Self::Authority(_) | Self::Task(_) | Self::Serve(_) => 70,
        }
    }
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Authority(error.to_string())
    }
}

impl From<palladium_tls::TlsError> for Error {
    fn from(error: palladium_tls::TlsError) -> Self {
        Self::Authority(error.to_string())
    }
}
