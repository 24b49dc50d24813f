//! Why the store could not do what it was asked.
//!
//! Must never quote stored content.

use std::path::PathBuf;

/// One variant per thing that a caller can act upon.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is taken.
    #[error("{kind} {name} already exists")]
    Exists {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// The holder of the name is on its way out.
        deleting: bool,
    },
    /// There is no such object, or it went away meanwhile.
    #[error("no such object")]
    NotFound,
    /// It was changed by someone else since it was read.
    #[error("the object was changed meanwhile")]
    Changed,
    /// Without this key nobody could administer the organization, now or after the other keys' end.
    #[error("no other administrator's key lasts as long as this one; create one first that does")]
    LastAdmin,
    /// It is being deleted and can no longer be changed.
    #[error("the object is being deleted")]
    Deleting,
    /// The disk is full, the folder is read-only, or the device fails. Nothing was written.
    #[error("the control plane cannot use its database in {path}: {reason}; nothing was changed")]
    Storage {
        /// The database file.
        path: PathBuf,
        /// In words.
        reason: String,
    },
    /// Something stored cannot be understood.
    #[error("stored {what} cannot be read")]
    Corrupt {
        /// What it was.
        what: &'static str,
    },
    /// Anything else that the database says.
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("database schema: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// SQLite's primary result codes that mean "this machine cannot store it now".
fn storage_reason(code: &str) -> Option<&'static str> {
    // Extended codes keep the primary code in their lowest byte.
    match code.parse::<u32>().ok()? & 0xff {
        8 => Some("the file or its folder is read-only"),
        10 => Some("reading or writing the disk failed"),
        11 | 26 => Some("the file is damaged or not a database; restore a backup"),
        13 => Some("the disk is full"),
        14 => Some("the file cannot be opened"),
        23 | 3 => Some("access is denied"),
        _ => None,
    }
}

impl Error {
    /// Sorts a driver error; `path` names the database in the message.
    pub(crate) fn from_sqlx(error: sqlx::Error, path: &std::path::Path) -> Self {
        let reason = match &error {
            sqlx::Error::RowNotFound => return Self::NotFound,
            sqlx::Error::Database(database) => database.code().as_deref().and_then(storage_reason).map(str::to_owned),
            sqlx::Error::Io(source) => Some(source.to_string()),
            sqlx::Error::PoolTimedOut => Some("no connection became free in time".to_owned()),
            _ => None,
        };
        match reason {
            Some(reason) => Self::Storage {
                path: path.to_owned(),
                reason,
            },
            None => Self::Database(error),
        }
    }
}
