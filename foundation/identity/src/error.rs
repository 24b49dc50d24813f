//! Why a process has no identity.
//!
//! One idea: the variant says whether asking again helps, a fresh attestation does, or only a person. Must never carry
//! a token or a key: the text goes to the log.

use std::path::PathBuf;

use palladium_spiffe::SpiffeId;
use palladium_tls::TlsError;

use crate::EnvelopeError;

/// What went wrong on the way to an SVID or an edge certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The settings cannot be right: not a matter of trying again.
    #[error("identity settings: {0}")]
    Settings(String),
    /// The parent did not hand over an attestation.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The supplied certificate of a public listener cannot be used.
    #[error("{} with {}: {reason}", chain.display(), key.display())]
    Files {
        /// The certificate's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The roots that Sentry is known by are missing or malformed.
    #[error("roots of the trust domain ({origin}): {reason}")]
    Roots {
        /// File name, or where else they come from.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// Sentry cannot be reached, is not who it should be, or did not answer in time.
    #[error("no answer from Sentry at {address}: {reason}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// Last reason.
        reason: String,
    },
    /// Sentry said no; the token, if there was one, is used up.
    #[error("Sentry refused to certify {id}: {reason}")]
    Refused {
        /// Whom.
        id: SpiffeId,
        /// Its words.
        reason: String,
    },
    /// Sentry's answer is not what was asked for.
    #[error("Sentry's answer cannot be used: {0}")]
    Answer(String),
    /// The SVID has expired before it could be renewed (a process that was frozen, a Sentry that was away too long).
    #[error("the SVID of {0} has expired")]
    Expired(SpiffeId),
    /// A key could not be made.
    #[error("cannot make a key")]
    Key,
}

impl IdentityError {
    /// Whether the process should exit with code 75, so that its parent starts it with a fresh attestation.
    pub fn wants_attestation(&self) -> bool {
        !matches!(
            self,
            Self::Settings(_) | Self::Envelope(_) | Self::Files { .. } | Self::Key
        )
    }

    /// Whether the same request may be sent again.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Roots { .. })
    }
}

impl From<TlsError> for IdentityError {
    fn from(error: TlsError) -> Self {
        Self::Answer(error.to_string())
    }
}
