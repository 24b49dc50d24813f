//! Statements on the table of state.
//!
//! One idea: an expired row that is still there counts as absent in every read and condition. Must never build SQL from a
//! request (texts are made once from checked names, keys and values are bound), nor let the server cut a key or a life to
//! what fits.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use palladium_component::StateError;
use palladium_component::state::{Concurrency, DeleteRequest, GetResponse, SetRequest};
use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, MySql, Row as _};
use uuid::Uuid;

use crate::sql::{Dialect, Failed, Found, pack, unpack};
use crate::ttl;

/// Characters that the column of keys holds.
const LONGEST_KEY: usize = 255;
/// Keys in one statement of a bulk read; MySQL takes 65,535 parameters.
const KEYS_PER_STATEMENT: usize = 1000;
/// The last second of MySQL's `TIMESTAMP`.
const LAST_SECOND: i64 = 2_147_483_647;
const LIVE: &str = "(expiredate IS NULL OR expiredate > CURRENT_TIMESTAMP)";
const LIFE: &str = "CURRENT_TIMESTAMP + INTERVAL ? SECOND";

/// The table of state.
pub(super) struct Table {
    read: String,
    upsert: Arc<str>,
    insert_new: Arc<str>,
    replace_expired: Arc<str>,
    update_matching: Arc<str>,
    delete: Arc<str>,
    delete_matching: Arc<str>,
    keys_like: Arc<str>,
    renew_note: Arc<str>,
    first_note: Arc<str>,
    sweep: Arc<str>,
}

impl Table {
    pub(super) fn new(table: &str, notes: &str) -> Self {
        let insert = format!("INSERT INTO {table} (value, eTag, isbinary, expiredate, id) VALUES (?, ?, ?, {LIFE}, ?)");
        let update = format!("UPDATE {table} SET value = ?, eTag = ?, isbinary = ?, expiredate = {LIFE} WHERE id = ?");
        Table {
            read: format!(
                "SELECT id, value, eTag, isbinary, CAST(UNIX_TIMESTAMP(expiredate) AS SIGNED) FROM {table} WHERE {LIVE} AND id IN "
            ),
            upsert: format!(
                "{insert} ON DUPLICATE KEY UPDATE value = VALUES(value), eTag = VALUES(eTag), isbinary = VALUES(isbinary), \
                 expiredate = VALUES(expiredate)"
            )
            .into(),
            insert_new: insert.into(),
            replace_expired: format!("{update} AND expiredate <= CURRENT_TIMESTAMP").into(),
            update_matching: format!("{update} AND eTag = ? AND {LIVE}").into(),
            delete: format!("DELETE FROM {table} WHERE id = ?").into(),
            delete_matching: format!("DELETE FROM {table} WHERE id = ? AND eTag = ? AND {LIVE}").into(),
            keys_like: format!(
                "SELECT id FROM {table} WHERE id LIKE ? AND CAST(id AS BINARY) > ? AND {LIVE} ORDER BY CAST(id AS BINARY) LIMIT ?"
            )
            .into(),
            renew_note: format!(
                "UPDATE {notes} SET value = CURRENT_TIMESTAMP WHERE id = 'last-cleanup' \
                 AND CURRENT_TIMESTAMP > DATE_ADD(value, INTERVAL ? MICROSECOND)"
            )
            .into(),
            first_note: format!("INSERT IGNORE INTO {notes} (id, value) VALUES ('last-cleanup', CURRENT_TIMESTAMP)").into(),
            sweep: format!("DELETE FROM {table} WHERE expiredate <= CURRENT_TIMESTAMP LIMIT 1000").into(),
        }
    }
}

fn query<'q>(statement: &Arc<str>) -> Query<'q, MySql, MySqlArguments> {
    sqlx::query(AssertSqlSafe(statement.clone()))
}

fn found(row: &MySqlRow) -> Result<Found, Failed> {
    // Unchecked: MariaDB calls JSON a long text, and texts that are compared by bytes binary.
    let stored: Vec<u8> = row.try_get_unchecked(1)?;
    let value = match row.try_get_unchecked::<bool, _>(3)? {
        false => Bytes::from(stored),
        true => unpack(&stored)?,
    };
    let expires: Option<i64> = row.try_get(4)?;
    let response = GetResponse {
        value: Some(value),
        etag: Some(row.try_get_unchecked(2)?),
        metadata: expires.map(ttl::response_metadata).unwrap_or_default(),
    };
    Ok((row.try_get_unchecked(0)?, response))
}

/// An etag of this store's is a UUID.
fn etag(etag: Option<&str>) -> Result<Option<String>, StateError> {
    match etag.filter(|etag| !etag.is_empty()).map(Uuid::try_parse) {
        None => Ok(None),
        Some(Ok(etag)) => Ok(Some(etag.to_string())),
        Some(Err(_)) => Err(StateError::EtagMismatch(None)),
    }
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}

fn life(request: &SetRequest) -> Result<Option<u32>, StateError> {
    let life = ttl::parse(&request.metadata)?.filter(|seconds| *seconds > 0);
    if life.is_some_and(|seconds| ttl::now_unix_s() + i64::from(seconds) > LAST_SECOND) {
        let message = "incorrect value for metadata 'ttlInSeconds': MySQL counts time until January 2038 only";
        return Err(StateError::Invalid(message.into()));
    }
    Ok(life)
}

fn changed(rows: u64) -> Result<(), Failed> {
    match rows {
        0 => Err(StateError::EtagMismatch(None).into()),
        _ => Ok(()),
    }
}

impl Dialect for Table {
    type DB = MySql;
    const SERVER: &'static str = super::SERVER;

    fn check_key(&self, key: &str) -> Result<(), StateError> {
        match key.chars().nth(LONGEST_KEY) {
            Some(_) => Err(StateError::Invalid(format!(
                "MySQL takes keys of up to {LONGEST_KEY} characters, prefix included"
            ))),
            None => Ok(()),
        }
    }

    async fn read(&self, connection: &mut MySqlConnection, keys: &[&str]) -> Result<Vec<Found>, Failed> {
        let mut all = Vec::with_capacity(keys.len());
        for some in keys.chunks(KEYS_PER_STATEMENT) {
            let statement = format!("{}({})", self.read, vec!["?"; some.len()].join(","));
            // Each number of keys is a statement of its own: only that for one is worth keeping.
            let query = sqlx::query(AssertSqlSafe(statement)).persistent(some.len() == 1);
            let query = some.iter().fold(query, |query, key| query.bind(*key));
            for row in query.fetch_all(&mut *connection).await? {
                all.push(found(&row)?);
            }
        }
        Ok(all)
    }

    async fn write(&self, connection: &mut MySqlConnection, request: &SetRequest) -> Result<(), Failed> {
        let life = life(request)?;
        let etag = etag(request.etag.as_deref())?;
        let (json, is_binary) = pack(request);
        let write = |statement: &Arc<str>| {
            let query = query(statement).bind(json.clone()).bind(Uuid::new_v4().to_string());
            query.bind(is_binary).bind(life).bind(request.key.clone())
        };
        match (etag, request.concurrency) {
            (Some(etag), _) => {
                let written = write(&self.update_matching).bind(etag).execute(connection).await?;
                changed(written.rows_affected())
            }
            (None, Concurrency::FirstWrite) => match write(&self.insert_new).execute(&mut *connection).await {
                // There is a row: it may be changed if it has expired.
                Err(error) if is_duplicate(&error) => {
                    changed(write(&self.replace_expired).execute(connection).await?.rows_affected())
                }
                outcome => Ok(outcome.map(|_| ())?),
            },
            (None, _) => Ok(write(&self.upsert).execute(connection).await.map(|_| ())?),
        }
    }

    async fn remove(&self, connection: &mut MySqlConnection, request: &DeleteRequest) -> Result<(), Failed> {
        match etag(request.etag.as_deref())? {
            None => Ok(query(&self.delete)
                .bind(&request.key)
                .execute(connection)
                .await
                .map(|_| ())?),
            Some(etag) => {
                let delete = query(&self.delete_matching).bind(&request.key).bind(etag);
                changed(delete.execute(connection).await?.rows_affected())
            }
        }
    }

    async fn keys_like(
        &self,
        connection: &mut MySqlConnection,
        pattern: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<String>, Failed> {
        let query = query(&self.keys_like).bind(pattern).bind(after.as_bytes()).bind(limit);
        let rows = query.fetch_all(connection).await?;
        Ok(rows
            .iter()
            .map(|row| row.try_get_unchecked(0))
            .collect::<Result<_, _>>()?)
    }

    async fn is_due(&self, connection: &mut MySqlConnection, interval: Duration) -> Result<bool, Failed> {
        let span = i64::try_from(interval.as_micros())
            .unwrap_or(i64::MAX)
            .saturating_sub(100_000);
        let renewed = query(&self.renew_note).bind(span).execute(&mut *connection).await?;
        if renewed.rows_affected() > 0 {
            return Ok(true);
        }
        Ok(query(&self.first_note).execute(connection).await?.rows_affected() > 0)
    }

    async fn sweep(&self, connection: &mut MySqlConnection) -> Result<u64, Failed> {
        Ok(query(&self.sweep).execute(connection).await?.rows_affected())
    }
}
