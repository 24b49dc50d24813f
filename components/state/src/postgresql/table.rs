//! Statements on the table of state, in both layouts.
//!
//! One idea: an expired row that is still there counts as absent in every read and condition. Must never build SQL from a
//! request: texts are made once from checked names, keys and values are bound.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use palladium_component::StateError;
use palladium_component::state::{Concurrency, DeleteRequest, GetResponse, QueryRequest, QueryResponse, SetRequest};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row as _};
use uuid::Uuid;

use super::query;
use super::schema::Names;
use crate::sql::{Dialect, Failed, Found, pack, unpack};
use crate::ttl;

/// Which of Dapr's layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// JSON in `jsonb`, bytes as a JSON text in Base64; the etag is `xmin`.
    V1,
    /// Bytes; the etag is a UUID.
    V2,
}

/// The table of state.
pub(super) struct Table {
    layout: Layout,
    prepared: bool,
    last_cleanup: String,
    select: String,
    read: Arc<str>,
    upsert: Arc<str>,
    insert_new: Arc<str>,
    update_matching: Arc<str>,
    delete: Arc<str>,
    delete_matching: Arc<str>,
    keys_like: Arc<str>,
    is_due: Arc<str>,
    sweep: Arc<str>,
}

impl Table {
    /// `prepared`: whether statements stay prepared on their connection.
    pub(super) fn new(layout: Layout, names: &Names, prepared: bool) -> Self {
        let (table, notes) = (&names.state, &names.notes);
        let (value, etag, binary, expiry, changed) = match layout {
            Layout::V1 => (
                "convert_to(value::text, 'UTF8')",
                "xmin",
                "isbinary",
                "expiredate",
                "updatedate",
            ),
            Layout::V2 => ("value", "etag", "false", "expires_at", "updated_at"),
        };
        let live = format!("({expiry} IS NULL OR {expiry} > now())");
        // $1 key, $2 value, $3 life in seconds or NULL, then in V1 $4 is binary; the etag that must match is the last.
        let life = "now() + make_interval(secs => $3)";
        let (insert, set, matching) = match layout {
            Layout::V1 => (
                format!("(key, value, isbinary, expiredate) VALUES ($1, $2::text::jsonb, $4, {life})"),
                "value = excluded.value, isbinary = excluded.isbinary, updatedate = now(), expiredate = excluded.expiredate",
                format!(
                    "value = $2::text::jsonb, isbinary = $4, updatedate = now(), expiredate = {life} WHERE key = $1 AND xmin::text = $5"
                ),
            ),
            Layout::V2 => (
                format!("(key, value, expires_at) VALUES ($1, $2, {life})"),
                "value = excluded.value, etag = gen_random_uuid(), updated_at = now(), expires_at = excluded.expires_at",
                format!(
                    "value = $2, etag = gen_random_uuid(), {changed} = now(), expires_at = {life} WHERE key = $1 AND etag::text = $4"
                ),
            ),
        };
        let select = format!(
            "SELECT key, {value}, {etag}::text, {binary}, floor(extract(epoch FROM {expiry}))::bigint FROM {table} WHERE {live}"
        );
        let upsert = format!("INSERT INTO {table} AS t {insert} ON CONFLICT (key) DO UPDATE SET {set}");
        Table {
            layout,
            prepared,
            last_cleanup: names.last_cleanup.clone(),
            read: format!("{select} AND key = ANY($1)").into(),
            select,
            insert_new: format!("{upsert} WHERE t.{expiry} <= now()").into(),
            upsert: upsert.into(),
            update_matching: format!("UPDATE {table} SET {matching} AND {live}").into(),
            delete: format!("DELETE FROM {table} WHERE key = $1").into(),
            delete_matching: format!("DELETE FROM {table} WHERE key = $1 AND {etag}::text = $2 AND {live}").into(),
            keys_like: format!(
                "SELECT key FROM {table} WHERE key LIKE $1 ESCAPE '\\' AND key COLLATE \"C\" > $2 AND {live} \
                 ORDER BY key COLLATE \"C\" LIMIT $3"
            )
            .into(),
            is_due: format!(
                "INSERT INTO {notes} AS n (key, value) VALUES ($1, now()::text) ON CONFLICT (key) DO UPDATE SET value = now()::text \
                 WHERE (EXTRACT('epoch' FROM now() - n.value::timestamp with time zone) * 1000)::bigint > $2"
            )
            .into(),
            sweep: format!(
                "DELETE FROM {table} WHERE key IN (SELECT key FROM {table} WHERE {expiry} < now() LIMIT 1000)"
            )
            .into(),
        }
    }

    fn prepare<'q>(&self, statement: &Arc<str>) -> Query<'q, Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(statement.clone())).persistent(self.prepared)
    }

    /// The form in which an etag is compared; one that this layout cannot have made is refused as Dapr does it.
    fn etag(&self, etag: &str) -> Result<String, StateError> {
        match self.layout {
            Layout::V1 => match etag
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| etag.parse::<u32>())
            {
                Some(Ok(number)) => Ok(number.to_string()),
                _ => Err(StateError::EtagInvalid(None)),
            },
            Layout::V2 => match Uuid::try_parse(etag) {
                Ok(etag) => Ok(etag.to_string()),
                Err(_) => Err(StateError::EtagMismatch(None)),
            },
        }
    }

    /// The beginning of every read, which ends with a condition.
    pub(super) fn select(&self) -> &str {
        &self.select
    }

    pub(super) fn found(&self, row: &PgRow) -> Result<Found, Failed> {
        let stored: Vec<u8> = row.try_get(1)?;
        let value = match row.try_get::<bool, _>(3)? {
            false => Bytes::from(stored),
            true => unpack(&stored)?,
        };
        let expires: Option<i64> = row.try_get(4)?;
        let response = GetResponse {
            value: Some(value),
            etag: Some(row.try_get(2)?),
            metadata: expires.map(ttl::response_metadata).unwrap_or_default(),
        };
        Ok((row.try_get(0)?, response))
    }
}

impl Dialect for Table {
    type DB = Postgres;
    const SERVER: &'static str = palladium_components_sql::postgresql::SERVER;

    fn check_key(&self, key: &str) -> Result<(), StateError> {
        match key.contains('\0') {
            true => Err(StateError::Invalid("PostgreSQL takes no key with a NUL in it".into())),
            false => Ok(()),
        }
    }

    async fn read(&self, connection: &mut PgConnection, keys: &[&str]) -> Result<Vec<Found>, Failed> {
        let rows = self.prepare(&self.read).bind(keys).fetch_all(connection).await?;
        rows.iter().map(|row| self.found(row)).collect()
    }

    async fn write(&self, connection: &mut PgConnection, request: &SetRequest) -> Result<(), Failed> {
        let life = ttl::parse(&request.metadata)?
            .filter(|seconds| *seconds > 0)
            .map(f64::from);
        let etag = request.etag.as_deref().filter(|etag| !etag.is_empty());
        let etag = etag.map(|etag| self.etag(etag)).transpose()?;
        let statement = match (&etag, request.concurrency) {
            (Some(_), _) => &self.update_matching,
            (None, Concurrency::FirstWrite) => &self.insert_new,
            (None, _) => &self.upsert,
        };
        let query = self.prepare(statement).bind(&request.key);
        let query = match self.layout {
            Layout::V1 => {
                let (json, is_binary) = pack(request);
                query.bind(json).bind(life).bind(is_binary)
            }
            Layout::V2 => query.bind(&request.value[..]).bind(life),
        };
        let query = match etag {
            Some(etag) => query.bind(etag),
            None => query,
        };
        match query.execute(connection).await?.rows_affected() {
            0 => Err(StateError::EtagMismatch(None).into()),
            _ => Ok(()),
        }
    }

    async fn remove(&self, connection: &mut PgConnection, request: &DeleteRequest) -> Result<(), Failed> {
        let Some(etag) = request.etag.as_deref().filter(|etag| !etag.is_empty()) else {
            self.prepare(&self.delete)
                .bind(&request.key)
                .execute(connection)
                .await?;
            return Ok(());
        };
        let query = self
            .prepare(&self.delete_matching)
            .bind(&request.key)
            .bind(self.etag(etag)?);
        match query.execute(connection).await?.rows_affected() {
            0 => Err(StateError::EtagMismatch(None).into()),
            _ => Ok(()),
        }
    }

    async fn keys_like(
        &self,
        connection: &mut PgConnection,
        pattern: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<String>, Failed> {
        let query = self.prepare(&self.keys_like).bind(pattern).bind(after).bind(limit);
        let rows = query.fetch_all(connection).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    fn queries(&self) -> bool {
        self.layout == Layout::V1
    }

    async fn query(&self, connection: &mut PgConnection, request: &QueryRequest) -> Result<QueryResponse, Failed> {
        query::run(self, connection, request).await
    }

    async fn is_due(&self, connection: &mut PgConnection, interval: Duration) -> Result<bool, Failed> {
        let span = i64::try_from(interval.as_millis())
            .unwrap_or(i64::MAX)
            .saturating_sub(100);
        let query = self.prepare(&self.is_due).bind(&self.last_cleanup).bind(span);
        Ok(query.execute(connection).await?.rows_affected() > 0)
    }

    async fn sweep(&self, connection: &mut PgConnection) -> Result<u64, Failed> {
        Ok(self.prepare(&self.sweep).execute(connection).await?.rows_affected())
    }
}
