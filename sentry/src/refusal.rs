//! Why a caller gets no certificate, and the gRPC status that says so.
//!
//! The texts go to the caller and to the journal; never a token or what is known about others.

use tonic::{Code, Status};

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be understood, or asks for a validator that is not enabled.
    #[error("{0}")]
    Malformed(String),
    /// The caller did not prove what it asks for, or may not have it.
    #[error("{0}")]
    Denied(String),
    /// A bound is reached; later it may work.
    #[error("too many requests at once")]
    Busy,
    /// Our own fault. The reason is in the log, not here.
    #[error("failed to sign certificate")]
    Internal,
}

impl Refusal {
    pub(crate) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }

    pub(crate) fn denied(reason: impl Into<String>) -> Self {
        Self::Denied(reason.into())
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Malformed(_) => Code::InvalidArgument,
            Refusal::Denied(_) => Code::PermissionDenied,
            Refusal::Busy => Code::ResourceExhausted,
            Refusal::Internal => Code::Internal,
        };
        Self::new(code, refusal.to_string())
    }
}
