//! Why regions cannot be served, and why a secret could not be read back.
//!
//! One idea: two enums, because two readers: the parent of the process, and whoever asked for a secret. Must never
//! carry a secret, or words of a region that were not cut and cleaned.

use crate::store::StoreError;

/// What went wrong at start or in the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener's address is taken or not ours.
    #[error(transparent)]
    Listen(#[from] palladium_http::BindError),
    /// A key cannot be opened.
    #[error("key of the region log: {0}")]
    Key(#[from] palladium_sealing::Error),
    /// The attestor's key cannot be opened or published.
    #[error(transparent)]
    Attestor(#[from] palladium_identity::AttestorError),
    /// The configuration contradicts itself.
    #[error("region configuration: {0}")]
    Config(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The listener ended by itself.
    #[error("the region listener ended: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// An object cannot be told to a region.
    #[error("{kind} {uid} cannot be put into a region's log: {reason}")]
    Payload {
        /// Its kind.
        kind: String,
        /// Its uid.
        uid: String,
        /// Why.
        reason: String,
    },
}

/// Why a region did not hand out a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadBackError {
    /// The region has no session.
    #[error("the region is not connected; the secret is only there")]
    NotConnected,
    /// It did not answer in time.
    #[error("the region did not answer in time")]
    Timeout,
    /// As many read-backs as one region may have are under way; it was not asked.
    #[error("too many secrets of this region are being read now; try again")]
    Busy,
    /// Its owner forbids it.
    #[error("the region's guard rails forbid reading this secret back")]
    Denied,
    /// It has no such secret.
    #[error("the region has no such secret yet")]
    NotFound,
    /// Anything else the region said.
    #[error("the region refused: {0}")]
    Refused(String),
}
