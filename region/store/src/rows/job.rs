//! What the writer is asked to do, and what it answers.
//!
//! One idea: whatever changes a project's file is a value in one queue, so that one writer can order and batch it. Must
//! never hold a value in clear: it was sealed before it was queued.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::bus::{BusWork, Joined, Published};

/// One piece of work and who waits for it.
pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) reply: oneshot::Sender<Result<Outcome, StorageError>>,
}

/// What is to be done.
pub(crate) enum Work {
    /// Steps on one component. Without `atomic` each is on its own.
    Steps {
        component: Arc<str>,
        steps: Vec<Step>,
        atomic: bool,
        /// Asked again right before writing: a permission may have gone while the job waited.
        permitted: Box<dyn Fn() -> bool + Send + Sync>,
    },
    /// Of messages.
    Bus(BusWork),
    /// Every row and message of a component.
    DeleteComponent(String),
    /// Every key of the project, in every component, from the first up to but not including the second.
    DeleteRanges(Vec<(String, String)>),
    /// The last work: the file is closed.
    Close,
}

/// One step; values are already encrypted.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Set {
        key: String,
        value: Vec<u8>,
        etag: String,
        expires_ms: Option<i64>,
        condition: Condition,
    },
    Delete {
        key: String,
        condition: Condition,
    },
}

/// What must hold for a step to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Always,
    /// The key must not exist.
    Absent,
    /// The stored etag must be this one.
    Etag(String),
}

/// How work ended; whatever it did is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything happened.
    Done,
    /// The conditions of these steps (their numbers) did not hold. Atomic work then did nothing at all.
    Mismatch(Vec<usize>),
    /// The permission was gone; nothing happened.
    NotPermitted,
    /// Messages were taken, as many as there was room for.
    Published(Published),
    /// The group is there.
    Joined(Joined),
    /// A bound is reached; nothing happened.
    Refused(String),
}

/// Nothing was written, or it is unknown whether it was; nothing is corrupted either way.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum StorageError {
    /// No room.
    #[error("the managed store's disk is full: nothing was written")]
    Full,
    /// The answer would take more memory than there is.
    #[error("the managed store is busy: too much data at a time")]
    TooMuch,
    /// The file or folder may not be written.
    #[error("the managed store's folder is read-only: nothing was written")]
    ReadOnly,
    /// The project is being closed.
    #[error("the managed store is closing")]
    Closed,
    /// Anything else.
    #[error("the managed store failed: {0}")]
    Other(String),
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        // Primary codes of SQLite: 8 = SQLITE_READONLY, 13 = SQLITE_FULL; extended ones carry them in the low byte.
        let code = error
            .as_database_error()
            .and_then(|error| error.code())
            .and_then(|code| code.parse::<i32>().ok());
        match code.map(|code| code & 0xff) {
            Some(8) => StorageError::ReadOnly,
            Some(13) => StorageError::Full,
            _ => StorageError::Other(error.to_string()),
        }
    }
}

impl From<palladium_sealing::Error> for StorageError {
    fn from(error: palladium_sealing::Error) -> Self {
        match error {
            palladium_sealing::Error::File(error) => error.into(),
            error => StorageError::Other(error.to_string()),
        }
    }
}

impl From<palladium_os::Error> for StorageError {
    fn from(error: palladium_os::Error) -> Self {
        let kind = match &error {
            palladium_os::Error::File { source, .. } => Some(source.kind()),
            _ => None,
        };
        match kind {
            Some(ErrorKind::StorageFull) => StorageError::Full,
            Some(ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => StorageError::ReadOnly,
            _ => StorageError::Other(error.to_string()),
        }
    }
}
