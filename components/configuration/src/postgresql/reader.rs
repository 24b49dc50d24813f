//! Reading items.
//!
//! One idea: a key may have several rows, each with a version; the one with the greatest number is what is in force. Must
//! never put a key into the text of a statement.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use palladium_component::configuration::{Item, Items};
use palladium_component::{CallError, MetadataError, OpenError};
use palladium_components_sql::postgresql::SERVER;
use palladium_components_sql::{Lease, told};
use serde_json::{Map, Value};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Pool, Postgres, Row as _};
use tokio::time::timeout;

/// Reads items.
#[derive(Clone)]
pub(super) struct Reader {
    pool: Pool<Postgres>,
    timeout: Duration,
    prepared: bool,
    all: Arc<str>,
    some: Arc<str>,
}

impl Reader {
    /// `table`: a checked name; `prepared`: whether statements stay prepared on their connection.
    pub(super) fn new(pool: Pool<Postgres>, table: &str, timeout: Duration, prepared: bool) -> Self {
        let all = format!(
            "SELECT key::text, COALESCE(value::text, ''), COALESCE(version::text, ''), metadata::text FROM {table}"
        );
        Reader {
            pool,
            timeout,
            prepared,
            some: format!("{all} WHERE key = ANY($1)").into(),
            all: all.into(),
        }
    }

    /// How long one call may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The items of these keys; of all when there are none.
    pub(super) async fn items(&self, keys: &[String]) -> Result<Items, CallError> {
        match timeout(self.timeout, self.rows(keys)).await {
            Ok(rows) => Ok(in_force(rows.map_err(|error| told(SERVER, &error))?)),
            Err(_) => Err(late(self.timeout)),
        }
    }

    async fn rows(&self, keys: &[String]) -> Result<Vec<(String, Item)>, sqlx::Error> {
        let mut lease = Lease::take(&self.pool).await?;
        let connection: &mut PgConnection = &mut lease;
        let query = match keys.is_empty() {
            true => sqlx::query(AssertSqlSafe(self.all.clone())),
            // What PostgreSQL cannot store is not there.
            false => sqlx::query(AssertSqlSafe(self.some.clone())).bind(
                keys.iter()
                    .filter(|key| !key.contains('\0'))
                    .cloned()
                    .collect::<Vec<_>>(),
            ),
        };
        let rows = query.persistent(self.prepared).fetch_all(connection).await;
        lease.done();
        rows?.iter().map(item).collect()
    }

    /// Ends all connections.
    pub(super) async fn close(&self) {
        // What still works on a connection is not waited for longer than any call.
        let _ = timeout(self.timeout, self.pool.close()).await;
    }
}

pub(super) fn late(after: Duration) -> CallError {
    CallError::Unavailable(format!("{SERVER} did not answer within {after:?}"))
}

/// Refuses to open a store on a table that nobody has made.
pub(super) async fn check_there(
    connection: &mut PgConnection,
    table: &str,
    patience: Duration,
) -> Result<(), OpenError> {
    let asked = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(table);
    let unavailable = |error: CallError| OpenError::Unavailable(error.to_string());
    let there: bool = timeout(patience, asked.fetch_one(connection))
        .await
        .map_err(|_| unavailable(late(patience)))?
        .map_err(|error| unavailable(told(SERVER, &error)))?;
    match there {
        true => Ok(()),
        false => {
            let remedy = "make it, with the columns key, value, version and metadata";
            Err(MetadataError::new("table", "there is no such table", remedy).into())
        }
    }
}

fn item(row: &PgRow) -> Result<(String, Item), sqlx::Error> {
    let metadata: Option<String> = row.try_get(3)?;
    let item = Item {
        value: row.try_get(1)?,
        version: row.try_get(2)?,
        metadata: metadata.map(|text| pairs(&text)).unwrap_or_default(),
    };
    Ok((row.try_get(0)?, item))
}

/// The pairs of a JSON object; what is no text is told as JSON.
fn pairs(json: &str) -> HashMap<String, String> {
    let pairs: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    pairs.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// Of each key the row with the greatest version; without numbers the first one.
fn in_force(rows: Vec<(String, Item)>) -> Items {
    let number = |item: &Item| item.version.parse::<i64>().unwrap_or(-1);
    let mut items = Items::new();
    for (key, item) in rows {
        match items.get(&key) {
            Some(known) if number(&item) <= number(known) => {}
            _ => {
                items.insert(key, item);
            }
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_version_is_in_force() {
        let row = |key: &str, version: &str| {
            let item = Item {
                version: version.to_owned(),
                ..Item::default()
            };
            (key.to_owned(), item)
        };
        let items = in_force(vec![
            row("a", "9"),
            row("a", "10"),
            row("a", "x"),
            row("b", "beta"),
            row("b", "alpha"),
            row("c", "v2"),
            row("c", "0"),
        ]);
        let versions: Vec<&str> = items.values().map(|item| item.version.as_str()).collect();
        assert_eq!(versions, ["10", "beta", "0"]);
    }

    #[test]
    fn metadata_that_are_no_texts_are_told_as_json() {
        let found = pairs(r#"{"a": "x", "b": 1, "c": {"d": true}}"#);
        assert_eq!(
            (found["a"].as_str(), found["b"].as_str(), found["c"].as_str()),
            ("x", "1", r#"{"d":true}"#)
        );
        assert!(pairs("null").is_empty() && pairs("[1]").is_empty());
    }
}
