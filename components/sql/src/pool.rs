//! Connections: a few at a time, each tried before it is used again.
//!
//! One idea: see [`Lease`]. Must never let a component decide how much room is made for it without a bound.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use palladium_component::OpenError;
use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::{ConnectOptions as _, Connection, Database, Pool};

/// Longest wait for a connection: the pool goes on trying to reach a server that refuses, as long as it is allowed to.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const MOST_CONNECTIONS: u32 = 256;
const SHORTEST_IDLE: Duration = Duration::from_secs(1);
/// A connection that was idle for longer is asked whether it still works before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection at work. Closed when dropped before [`Lease::done`].
#[derive(Debug)]
pub struct Lease<DB: Database>(Option<PoolConnection<DB>>);

impl<DB: Database> Lease<DB> {
    /// One of the pool's, as soon as there is one.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn take(pool: &Pool<DB>) -> Result<Self, sqlx::Error> {
        Ok(Lease(Some(pool.acquire().await?)))
    }

    /// The work came to its end: the connection can be used again.
    pub fn done(mut self) {
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

/// How many connections, and how long they may idle.
#[derive(Debug, Clone)]
pub struct PoolSize {
    /// Most connections at a time.
    pub connections: u32,
    /// How long one may idle before it is closed.
    pub idle: Duration,
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
pub fn pool<DB: Database>(
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
///
/// # Errors
/// When it cannot be had in time.
pub async fn connect<DB: Database>(
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
