//! Everything that can go wrong with a state call, as one enum.
//!
//! One idea: the variant is the class that decides codes; words are made in one place ([`crate::report`]). Must never
//! carry a stored value in a variant: errors are logged and counted.

use palladium_component::StateError;

/// The call that failed, with what its message names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Reading one key.
    Get {
        /// The application's key.
        key: String,
    },
    /// Writing one key or several.
    Save,
    /// Deleting one key.
    Delete {
        /// The application's key.
        key: String,
    },
    /// Reading several keys.
    BulkGet,
    /// Deleting several keys.
    BulkDelete,
    /// A transaction.
    Transaction,
}

/// A failed state call.
#[derive(Debug, Clone)]
pub enum ApiError {
    /// The Dapr Server has no state store at all.
    NotConfigured {
        /// The store that was asked for.
        store: String,
        /// App ID of the Dapr Server.
        app_id: String,
    },
    /// There is no such state store for this App ID.
    NotFound {
        /// The store that was asked for.
        store: String,
        /// App ID of the Dapr Server.
        app_id: String,
    },
    /// A key that no store may see.
    IllegalKey {
        /// The store.
        store: String,
        /// The application's key.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// An item to be saved has no key.
    MissingKey,
    /// The store has no transactions.
    TransactionsNotSupported {
        /// The store.
        store: String,
    },
    /// More steps than the store takes in one transaction.
    TooManyOperations {
        /// The store.
        store: String,
        /// Steps given.
        count: usize,
        /// Steps allowed.
        max: usize,
    },
    /// A step of a transaction is neither `upsert` nor `delete`.
    UnsupportedOperation {
        /// The word that was given.
        operation: String,
    },
    /// The store cannot be queried.
    QueryNotSupported {
        /// The store.
        store: String,
    },
    /// The query failed.
    QueryFailed {
        /// The store.
        store: String,
        /// Why.
        source: StateError,
    },
    /// The driver failed.
    Failed {
        /// The store.
        store: String,
        /// What was tried.
        operation: Operation,
        /// Why it failed.
        source: StateError,
    },
}

impl ApiError {
    /// The driver's error, if a driver failed.
    pub fn source(&self) -> Option<&StateError> {
        match self {
            ApiError::Failed { source, .. } | ApiError::QueryFailed { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.grpc().message)
    }
}

impl std::error::Error for ApiError {}
