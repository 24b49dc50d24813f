//! The file of a project: tables, statements, and how it is opened.
//!
//! One idea: every statement on rows is here, and every read and condition takes an expired row for an absent one. Must
//! never open the file without full flushing and secure deletion: acknowledged writes and destroyed rows rely on them.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqlitePool};

use super::{StorageError, bus};

/// Layout that this version writes.
const LEVEL: i64 = 2;
/// Level 1 had no messages; what it has stays as it is.
const CREATE: &str = "
CREATE TABLE IF NOT EXISTS rows (
  component TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, etag TEXT NOT NULL, expires_ms INTEGER,
  PRIMARY KEY (component, key)
) STRICT;
CREATE INDEX IF NOT EXISTS rows_by_expiry ON rows (expires_ms) WHERE expires_ms IS NOT NULL;
";
const MARK: &str = "PRAGMA user_version = 2;";

// ?1 component, ?2 key, ?3 value, ?4 new etag, ?5 expires_ms
pub(super) const UPSERT: &str = "INSERT INTO rows (component, key, value, etag, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
    ON CONFLICT (component, key) DO UPDATE SET value = excluded.value, etag = excluded.etag, expires_ms = excluded.expires_ms";
/// ?6 now: an expired row that is still there counts as absent.
pub(super) const INSERT_ABSENT: &str = "INSERT INTO rows (component, key, value, etag, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
    ON CONFLICT (component, key) DO UPDATE SET value = excluded.value, etag = excluded.etag, expires_ms = excluded.expires_ms \
    WHERE rows.expires_ms IS NOT NULL AND rows.expires_ms <= ?6";
/// ?6 now, ?7 etag.
pub(super) const UPDATE_MATCHING: &str = "UPDATE rows SET value = ?3, etag = ?4, expires_ms = ?5 \
    WHERE component = ?1 AND key = ?2 AND etag = ?7 AND (expires_ms IS NULL OR expires_ms > ?6)";
pub(super) const DELETE: &str = "DELETE FROM rows WHERE component = ?1 AND key = ?2";
/// ?3 now, ?4 etag.
pub(super) const DELETE_MATCHING: &str =
    "DELETE FROM rows WHERE component = ?1 AND key = ?2 AND etag = ?4 AND (expires_ms IS NULL OR expires_ms > ?3)";
pub(super) const DELETE_COMPONENT: &str = "DELETE FROM rows WHERE component = ?1";
/// ?1 first key, ?2 first key beyond: keys compare bytewise.
pub(super) const DELETE_RANGE: &str = "DELETE FROM rows WHERE key >= ?1 AND key < ?2";
/// ?1 now, ?2 most rows.
pub(super) const DELETE_EXPIRED: &str = "DELETE FROM rows WHERE rowid IN (SELECT rowid FROM rows WHERE expires_ms IS NOT NULL AND expires_ms <= ?1 LIMIT ?2)";

/// The statement that reads this many keys of one component: ?1 component, ?2 now, then the keys.
pub(super) fn select(keys: usize) -> String {
    let keys = vec!["?"; keys].join(",");
    format!(
        "SELECT key, value, etag, expires_ms FROM rows WHERE component = ? AND (expires_ms IS NULL OR expires_ms > ?) AND key IN ({keys})"
    )
}

/// The one writing connection, with the tables there.
pub(super) async fn writer(file: &Path) -> Result<SqliteConnection, StorageError> {
    let mut connection = options(file).create_if_missing(true).connect().await?;
    let level: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut connection)
        .await?;
    match level {
        LEVEL => {}
        0..LEVEL => {
            // All of it or nothing: a crash in between leaves the level that was.
            for statement in ["BEGIN IMMEDIATE;", CREATE, bus::CREATE, MARK, "COMMIT;"] {
                sqlx::raw_sql(statement).execute(&mut connection).await?;
            }
        }
        newer => {
            let message = format!("{} has layout {newer}, written by a newer version", file.display());
            return Err(StorageError::Other(message));
        }
    }
    Ok(connection)
}

/// Connections that read.
pub(super) async fn readers(file: &Path, count: u32, patience: Duration) -> Result<SqlitePool, StorageError> {
    let pool = SqlitePoolOptions::new()
        .max_connections(count)
        .acquire_timeout(patience)
        .idle_timeout(Duration::from_secs(60));
    Ok(pool.connect_with(options(file)).await?)
}

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        // Every commit is flushed: an acknowledged write survives a power failure, not only a crash.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        // What is deleted is overwritten.
        .pragma("secure_delete", "ON")
        .pragma("journal_size_limit", "67108864")
}
