//! How a failed call about a lock is told.
//!
//! One idea: words and codes are Dapr's. That a lock is taken is no failure, and so it must never be here.

use palladium_engine_report::{Report, code};

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockError {
    /// There is no lock store at all.
    NotConfigured,
    /// There is none of that name.
    NotFound {
        /// The name.
        store: String,
    },
    /// The resource has no name.
    NoResource {
        /// The store.
        store: String,
    },
    /// The owner has no name.
    NoOwner {
        /// The store.
        store: String,
    },
    /// The lock would end before it began.
    NoExpiry {
        /// The store.
        store: String,
    },
    /// It could not be tried.
    TryLock {
        /// Why.
        reason: String,
    },
    /// It could not be given back.
    Unlock {
        /// Why.
        reason: String,
    },
}

impl LockError {
    /// Whether it is about the request, whatever the building block.
    pub fn is_common(&self) -> bool {
        matches!(
            self,
            Self::NoResource { .. } | Self::NoOwner { .. } | Self::NoExpiry { .. }
        )
    }

    /// What the caller is told.
    pub fn report(&self) -> Report {
        let malformed = |message| (400, code::INVALID_ARGUMENT, "ERR_MALFORMED_REQUEST", message);
        let (http_status, grpc_code, tag, message) = match self {
            Self::NotConfigured => (
                500,
                code::FAILED_PRECONDITION,
                "ERR_LOCK_STORE_NOT_CONFIGURED",
                "lock store is not configured".to_owned(),
            ),
            Self::NotFound { store } => (
                400,
                code::INVALID_ARGUMENT,
                "ERR_LOCK_STORE_NOT_FOUND",
                format!("lock store {store} not found"),
            ),
            Self::NoResource { store } => malformed(format!("ResourceId is empty in lock store {store}")),
            Self::NoOwner { store } => malformed(format!("LockOwner is empty in lock store {store}")),
            Self::NoExpiry { store } => malformed(format!("ExpiryInSeconds is not positive in lock store {store}")),
            Self::TryLock { reason } => (
                500,
                code::INTERNAL,
                "ERR_TRY_LOCK",
                format!("failed to try acquiring lock: {reason}"),
            ),
            Self::Unlock { reason } => (
                500,
                code::INTERNAL,
                "ERR_UNLOCK",
                format!("failed to release lock: {reason}"),
            ),
        };
        Report {
            http_status,
            grpc_code,
            tag: tag.to_owned(),
            message,
            details: Vec::new(),
        }
    }
}
