//! What callers are told when a server refuses or is not there.
//!
//! One idea: the class follows from SQLSTATE. Must never hand on a message that may quote data.

use palladium_component::CallError;

/// A failure as callers are told, with the server's name.
pub fn told(server: &str, error: &sqlx::Error) -> CallError {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            // SQLSTATE: lost connections, too little room, a server that goes down.
            let unavailable = ["08", "53", "57P"].iter().any(|class| code.starts_with(class));
            // 22: messages about bad data may quote it.
            let text = match code.starts_with("22") {
                true => format!("{server} refused the data (SQLSTATE {code})"),
                false => format!("{server}: {} (SQLSTATE {code})", error.message()),
            };
            match (unavailable, code.as_ref()) {
                (true, _) => CallError::Unavailable(text),
                // Too long for an index of PostgreSQL's.
                (_, "54000") => CallError::Invalid(text),
                _ => CallError::Other(text),
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => CallError::Unavailable(format!("{server} is not available: {error}")),
        error => CallError::Other(format!("{server}: {error}")),
    }
}
