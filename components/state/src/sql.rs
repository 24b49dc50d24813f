//! What the stores on SQL servers have in common; SQLite, which is no server, has its own.
//!
//! One idea: a connection whose work did not come to its end (a deadline, a caller that went away) is closed, never
//! handed to the next one: what it would answer to is unknown. Must never put a bound value into an error.

mod packed;
mod store;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use palladium_component::{MetadataError, OpenError, StateError};
use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::{ConnectOptions as _, Connection, Database, Pool};

pub(crate) use packed::{pack, unpack};
pub(crate) use store::{Dialect, Found, SqlStore};

/// Longest wait for a connection: the pool goes on trying to reach a server that refuses, as long as it is allowed to.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const MOST_CONNECTIONS: u32 = 256;
const SHORTEST_IDLE: Duration = Duration::from_secs(1);
/// A connection that was idle for longer is asked whether it still works before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection at work.
pub(crate) struct Lease<DB: Database>(Option<PoolConnection<DB>>);

impl<DB: Database> Lease<DB> {
    pub(crate) async fn take(pool: &Pool<DB>) -> Result<Self, sqlx::Error> {
        Ok(Lease(Some(pool.acquire().await?)))
    }

    /// The work came to its end: the connection can be used again.
    pub(crate) fn done(mut self) {
        drop(self.0.take());
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

impl<DB: Database> Deref for Lease<DB> {
    type Target = PoolConnection<DB>;
    fn deref(&self) -> &PoolConnection<DB> {
        self.0
            .as_ref()
            .expect("invariant: there is a connection until done() or drop")
    }
}

impl<DB: Database> DerefMut for Lease<DB> {
    fn deref_mut(&mut self) -> &mut PoolConnection<DB> {
        self.0
            .as_mut()
            .expect("invariant: there is a connection until done() or drop")
    }
}

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
        let code = self.code().map(std::borrow::Cow::into_owned).unwrap_or_default();
        match self {
            Failed::State(error) => error,
            Failed::Sql(sqlx::Error::Database(error)) => {
                // SQLSTATE: lost connections, too little room, a server that goes down.
                let unavailable = ["08", "53", "57P"].iter().any(|class| code.starts_with(class));
                // 22: messages about bad data may quote it.
                let text = match code.starts_with("22") {
                    true => format!("{server} refused the data (SQLSTATE {code})"),
                    false => format!("{server}: {} (SQLSTATE {code})", error.message()),
                };
                match (unavailable, code.as_str()) {
                    (true, _) => StateError::Unavailable(text),
                    // Too long for an index of PostgreSQL's.
                    (_, "54000") => StateError::Invalid(text),
                    _ => StateError::Other(text),
                }
            }
            Failed::Sql(
                error @ (sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed),
            ) => StateError::Unavailable(format!("{server} is not available: {error}")),
            Failed::Sql(error) => StateError::Other(format!("{server}: {error}")),
        }
    }
}

/// How many connections, and how long they may idle.
pub(crate) struct PoolSize {
    pub(crate) connections: u32,
    pub(crate) idle: Duration,
}

impl Default for PoolSize {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        PoolSize {
            connections: u32::try_from(cores).unwrap_or(4).max(4),
            idle: Duration::from_secs(30 * 60),
        }
    }
}

/// Connections of one store. Nothing is reached yet.
pub(crate) fn pool<DB: Database>(
    options: <DB::Connection as Connection>::Options,
    size: &PoolSize,
    timeout: Duration,
) -> Pool<DB> {
    PoolOptions::new()
        // The pool makes room for all of them at once, and looks as often as they may idle: neither may be a tenant's word.
        .max_connections(size.connections.clamp(1, MOST_CONNECTIONS))
        .acquire_timeout(timeout.min(LONGEST_WAIT))
        .idle_timeout(size.idle.max(SHORTEST_IDLE))
        .max_lifetime(Duration::from_secs(60 * 60))
        .test_before_acquire(false)
        .before_acquire(|connection: &mut DB::Connection, about| {
            Box::pin(async move {
                if about.idle_for < TRUSTED_IDLE {
                    return Ok(true);
                }
                let alive = tokio::time::timeout(PING_TIMEOUT, connection.ping()).await;
                Ok(matches!(alive, Ok(Ok(()))))
            })
        })
        .connect_lazy_with(options)
}

/// One connection outside of a pool, for preparing a store: unlike a pool it says at once why it cannot be had.
pub(crate) async fn connect<DB: Database>(
    options: &<DB::Connection as Connection>::Options,
    server: &str,
    timeout: Duration,
) -> Result<DB::Connection, OpenError> {
    let failed = |reason: String| OpenError::Unavailable(format!("failed to connect to {server}: {reason}"));
    match tokio::time::timeout(timeout, options.connect()).await {
        Ok(connected) => connected.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {timeout:?}"))),
    }
}

/// Refuses what cannot be put into a statement: a name is letters, digits and `_`, or anything else in double quotes; where
/// `qualified`, with a schema before it.
pub(crate) fn check_table(field: &str, name: &str, qualified: bool) -> Result<(), MetadataError> {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let quoted = |part: &str| {
        let inner = part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(['"', '\0', '.']))
    };
    let parts: Vec<&str> = name.split('.').collect();
    let known = match qualified {
        true => parts.len() <= 2 && parts.iter().all(|part| plain(part) || quoted(part)),
        false => plain(name),
    };
    if known {
        return Ok(());
    }
    let remedy = match qualified {
        true => "use letters, digits and '_', with a schema and '.' before it if needed",
        false => "use letters, digits and '_' only",
    };
    Err(MetadataError::new(field, "it is no table name", remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_more_than_names_are_refused() {
        for name in ["state", "public.state", "\"My Table\"", "s1.\"T-1\""] {
            assert!(check_table("tableName", name, true).is_ok(), "{name}");
        }
        for name in [
            "", "a b", "a;b", "a.b.c", "a.", "\"a\"\"", "\"a\" b", "state--", "é", "\"\"",
        ] {
            let error = check_table("tableName", name, true).unwrap_err();
            assert_eq!(error.field, "tableName", "{name}");
        }
        assert!(check_table("tableName", "a.b", false).is_err() && check_table("tableName", "\"a\"", false).is_err());
    }
}
