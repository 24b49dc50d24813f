//! What the stores on SQL servers have in common; SQLite, which is no server, has its own.
//!
//! One idea: the server's own words are kept until it is known whether a step is repeated. Must never put a bound value into
//! an error.

mod packed;
mod store;

use palladium_component::{CallError, MetadataError, StateError};

pub(crate) use packed::{pack, unpack};
pub(crate) use store::{Dialect, Found, SqlStore};

/// Why a step failed; the server's own words are kept until it is known whether to repeat it.
pub(crate) enum Failed {
    /// As callers are told.
    State(StateError),
    /// As the server or its driver said it.
    Sql(sqlx::Error),
}

impl From<StateError> for Failed {
    fn from(error: StateError) -> Self {
        Failed::State(error)
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Failed::Sql(error)
    }
}

impl Failed {
    /// Whether the server undid everything because of somebody else, so that a repetition may succeed.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self.code().as_deref(), Some("40001" | "40P01"))
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Failed::Sql(sqlx::Error::Database(error)) => error.code(),
            _ => None,
        }
    }

    /// As callers are told, with the server's name.
    pub(crate) fn into_state(self, server: &str) -> StateError {
        match self {
            Failed::State(error) => error,
            Failed::Sql(error) => match palladium_components_sql::told(server, &error) {
                CallError::Invalid(text) => StateError::Invalid(text),
                CallError::Unavailable(text) => StateError::Unavailable(text),
                error => StateError::Other(error.to_string()),
            },
        }
    }
}

/// Refuses one table for the state and for the driver's own notes.
pub(crate) fn check_different(state: &str, notes: &str) -> Result<(), MetadataError> {
    if state.eq_ignore_ascii_case(notes) {
        return Err(MetadataError::new(
            "metadataTableName",
            "it is the same as tableName",
            "use two different tables",
        ));
    }
    Ok(())
}
