//! How a failed read of a secret is told.
//!
//! One idea: words and codes are Dapr's. Must never hold a secret's value.

use palladium_engine_report::{Report, code};

/// A read that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretsError {
    /// There is no secret store at all.
    NotConfigured,
    /// There is none of that name.
    NotFound {
        /// The name.
        store: String,
    },
    /// The application may not.
    Denied {
        /// The store.
        store: String,
        /// The secret.
        name: String,
    },
    /// The store failed at one secret.
    Get {
        /// The store.
        store: String,
        /// The secret.
        name: String,
        /// Why.
        reason: String,
    },
    /// The store failed at all of them.
    GetAll {
        /// The store.
        store: String,
        /// Why.
        reason: String,
    },
}

impl SecretsError {
    /// What the caller is told.
    pub fn report(&self) -> Report {
        let (http_status, grpc_code, tag, message) = match self {
            Self::NotConfigured => (
                500,
                code::FAILED_PRECONDITION,
                "ERR_SECRET_STORES_NOT_CONFIGURED",
                "secret store is not configured".to_owned(),
            ),
            Self::NotFound { store } => (
                401,
                code::INVALID_ARGUMENT,
                "ERR_SECRET_STORE_NOT_FOUND",
                format!("failed finding secret store with key {store}"),
            ),
            Self::Denied { store, name } => (
                403,
                code::PERMISSION_DENIED,
                "ERR_PERMISSION_DENIED",
                format!("access denied by policy to get {name:?} from {store:?}"),
            ),
            Self::Get { store, name, reason } => (
                500,
                code::INTERNAL,
                "ERR_SECRET_GET",
                format!("failed getting secret with key {name} from secret store {store}: {reason}"),
            ),
            Self::GetAll { store, reason } => (
                500,
                code::INTERNAL,
                "ERR_SECRET_GET",
                format!("failed getting secrets from secret store {store}: {reason}"),
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
