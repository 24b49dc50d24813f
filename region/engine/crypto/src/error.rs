//! How a failed call is told.
//!
//! One idea: words and codes are Dapr's. Must never tell why a document's key could not be unwrapped: a wrong key and a
//! broken document look the same.

use palladium_engine_report::{Report, code};
use thiserror::Error;

/// A document that cannot be encrypted or decrypted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CryptoError {
    /// There is no provider at all.
    #[error("crypto providers not configured")]
    NotConfigured,
    /// There is none of that name.
    #[error("crypto provider {0} not found")]
    NotFound(String),
    /// The request lacks something, or has too much.
    #[error("invalid request: {0}")]
    BadRequest(String),
    /// The operation failed.
    #[error("failed to perform operation: {0}")]
    Failed(String),
    /// A segment failed, after the operation had begun.
    #[error("{0}")]
    Segment(String),
}

impl CryptoError {
    /// Whether it is about the request, whatever the building block.
    pub fn is_common(&self) -> bool {
        matches!(self, Self::BadRequest(_) | Self::Segment(_))
    }

    /// What an HTTP caller is told.
    pub fn http(&self) -> Report {
        let (http_status, grpc_code, tag) = match self {
            Self::NotConfigured => (500, code::INTERNAL, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED"),
            Self::NotFound(_) => (400, code::INVALID_ARGUMENT, "ERR_CRYPTO_PROVIDER_NOT_FOUND"),
            Self::BadRequest(_) => (400, code::INVALID_ARGUMENT, "ERR_BAD_REQUEST"),
            Self::Failed(_) => (500, code::INTERNAL, "ERR_CRYPTO"),
            Self::Segment(_) => (500, code::INTERNAL, "ERROR"),
        };
        Report {
            http_status,
            grpc_code,
            tag: tag.to_owned(),
            message: self.to_string(),
            details: Vec::new(),
        }
    }

    /// What a gRPC caller is told.
    pub fn grpc(&self) -> Report {
        match self {
            Self::Segment(reason) => Self::Failed(reason.clone()).http(),
            other => other.http(),
        }
    }
}
