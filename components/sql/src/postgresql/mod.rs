//! The way to a PostgreSQL server: what a component says about it, and the options of a connection that follow.
//!
//! One idea: every building block on PostgreSQL takes the same settings and refuses the same ones. In platform mode it must
//! never read a file of the machine or connect to one of its sockets.

mod connection;
mod metadata;
#[cfg(test)]
mod tests;

use palladium_component::{Hosting, OpenError};
use sqlx::postgres::PgConnectOptions;

use crate::PoolSize;
pub use metadata::PostgresMetadata;

/// The server's name in messages.
pub const SERVER: &str = "PostgreSQL";

impl PostgresMetadata {
    /// Options of one connection, and how many there may be.
    ///
    /// # Errors
    /// When a setting is not known, not supported, or not allowed where this runs.
    pub fn options(&self, hosting: &Hosting) -> Result<(PgConnectOptions, PoolSize), OpenError> {
        self.check()?;
        connection::options(self, hosting)
    }
}
