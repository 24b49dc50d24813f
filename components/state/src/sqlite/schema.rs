//! Tables and statements of `state.sqlite`: Dapr's own layout, so that daprd and this driver can share a file.
//!
//! One idea: an expired row that is still there counts as absent in every read and condition (`LIVE`). Must never hold
//! a table name that `SqliteMetadata::check` has not passed, nor change a column of Dapr's.

use std::sync::Arc;

use palladium_component::OpenError;
use sqlx::{AssertSqlSafe, SqlitePool};

/// Highest layout that this driver knows.
const LEVEL: i64 = 1;

/// The statements for one pair of tables. Table names are checked identifiers.
#[derive(Debug, Clone)]
pub(super) struct Statements {
    pub(super) get: Arc<str>,
    get_many: String,
    pub(super) upsert: Arc<str>,
    pub(super) insert_new: Arc<str>,
    pub(super) update_matching: Arc<str>,
    pub(super) delete: Arc<str>,
    pub(super) delete_matching: Arc<str>,
    pub(super) keys_like: Arc<str>,
    pub(super) note_cleanup: Arc<str>,
    pub(super) delete_expired: Arc<str>,
}

const LIVE: &str = "(expiration_time IS NULL OR expiration_time > CURRENT_TIMESTAMP)";
const COLUMNS: &str = "key, value, is_binary, etag, CAST(strftime('%s', expiration_time) AS INTEGER)";

impl Statements {
    pub(super) fn new(state: &str, metadata: &str) -> Self {
        // ?1 key, ?2 value, ?3 is_binary, ?4 new etag, ?5 life ('+N seconds' or NULL), ?6 etag that must match
        let values = "?1, ?2, ?3, ?4, DATETIME(CURRENT_TIMESTAMP, ?5), CURRENT_TIMESTAMP";
        let columns = "key, value, is_binary, etag, expiration_time, update_time";
        Statements {
            get: format!("SELECT {COLUMNS} FROM {state} WHERE key = ? AND {LIVE}").into(),
            get_many: format!("SELECT {COLUMNS} FROM {state} WHERE {LIVE} AND key IN "),
            upsert: format!("INSERT OR REPLACE INTO {state} ({columns}) VALUES ({values})").into(),
            // An expired row that is still there counts as gone.
            insert_new: format!(
                "INSERT OR REPLACE INTO {state} ({columns}) SELECT {values} \
                 WHERE NOT EXISTS (SELECT 1 FROM {state} WHERE key = ?1 AND {LIVE})"
            )
            .into(),
            update_matching: format!(
                "UPDATE {state} SET value = ?2, is_binary = ?3, etag = ?4, expiration_time = DATETIME(CURRENT_TIMESTAMP, ?5), \
                 update_time = CURRENT_TIMESTAMP WHERE key = ?1 AND etag = ?6 AND {LIVE}"
            )
            .into(),
            delete: format!("DELETE FROM {state} WHERE key = ?").into(),
            delete_matching: format!("DELETE FROM {state} WHERE key = ? AND etag = ? AND {LIVE}").into(),
            keys_like: format!(
                "SELECT key FROM {state} WHERE key GLOB ?1 AND key > ?2 AND {LIVE} ORDER BY key LIMIT ?3"
            )
            .into(),
            note_cleanup: format!(
                "INSERT INTO {metadata} (key, value) VALUES ('last-cleanup', CURRENT_TIMESTAMP) ON CONFLICT (key) \
                 DO UPDATE SET value = CURRENT_TIMESTAMP WHERE (unixepoch(CURRENT_TIMESTAMP) - unixepoch(value)) * 1000 > ?"
            )
            .into(),
            delete_expired: format!(
                "DELETE FROM {state} WHERE rowid IN (SELECT rowid FROM {state} \
                 WHERE expiration_time IS NOT NULL AND expiration_time < CURRENT_TIMESTAMP LIMIT 1000)"
            )
            .into(),
        }
    }

    /// The statement that reads this many keys.
    pub(super) fn get_many(&self, count: usize) -> String {
        format!("{}({})", self.get_many, vec!["?"; count].join(","))
    }
}

/// Creates what is missing. Tables that are already there are accepted as they are.
pub(super) async fn migrate(pool: &SqlitePool, state: &str, metadata: &str) -> Result<(), OpenError> {
    let unavailable =
        |error: sqlx::Error| OpenError::Unavailable(format!("failed to prepare the SQLite database: {error}"));
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    let create = format!("CREATE TABLE IF NOT EXISTS {metadata} (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)");
    sqlx::query(AssertSqlSafe(create))
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    let read = format!("SELECT CAST(value AS INTEGER) FROM {metadata} WHERE key = 'migrations'");
    let level: Option<i64> = sqlx::query_scalar(AssertSqlSafe(read))
        .fetch_optional(&mut *transaction)
        .await
        .map_err(unavailable)?;
    if level.is_some_and(|level| level > LEVEL) {
        let message = "the database was written by a newer version of this driver: use that version, or another file";
        return Err(OpenError::Unavailable(message.into()));
    }
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {state} (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, is_binary BOOLEAN NOT NULL, \
         etag TEXT NOT NULL, expiration_time TIMESTAMP DEFAULT NULL, update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    );
    sqlx::query(AssertSqlSafe(create))
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    let note = format!(
        "INSERT INTO {metadata} (key, value) VALUES ('migrations', '{LEVEL}') ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    );
    sqlx::query(AssertSqlSafe(note))
        .execute(&mut *transaction)
        .await
        .map_err(unavailable)?;
    transaction.commit().await.map_err(unavailable)
}
