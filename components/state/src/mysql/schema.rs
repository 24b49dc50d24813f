//! Schema and tables of `state.mysql`: Dapr's own layout, so that daprd and this driver can share a database.
//!
//! One idea: what is missing is made, what is there is accepted. Must never put a name into a statement that
//! `MySqlMetadata::check` has not passed.

use std::time::Duration;

use palladium_component::OpenError;
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::metadata::MySqlMetadata;

/// How long preparing the tables may take: they may be large.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Collations that compare bytes, best first: the last one ignores blanks at the end.
const COLLATIONS: [&str; 3] = ["utf8mb4_0900_bin", "utf8mb4_nopad_bin", "utf8mb4_bin"];

/// Makes the schema and its tables, and moves the connection there.
pub(super) async fn prepare(connection: &mut MySqlConnection, metadata: &MySqlMetadata) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| OpenError::Unavailable(format!("failed to prepare the MySQL tables: {error}"));
    let schema = &metadata.schema_name;
    let schemas = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?";
    if !exists(connection, schemas, &[schema]).await.map_err(failed)? {
        run(connection, format!("CREATE DATABASE IF NOT EXISTS {schema}"))
            .await
            .map_err(failed)?;
    }
    run(connection, format!("USE {schema}")).await.map_err(failed)?;
    make_state(connection, metadata).await.map_err(failed)?;
    if !has_table(connection, schema, &metadata.metadata_table_name)
        .await
        .map_err(failed)?
    {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {} (id VARCHAR(255) NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
            metadata.metadata_table_name
        );
        run(connection, create).await.map_err(failed)?;
    }
    Ok(())
}

async fn make_state(connection: &mut MySqlConnection, metadata: &MySqlMetadata) -> Result<(), sqlx::Error> {
    let (schema, table) = (&metadata.schema_name, &metadata.table_name);
    if !has_table(connection, schema, table).await? {
        let collation = collation(connection).await?;
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {table} (id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL PRIMARY KEY, \
             value JSON NOT NULL, isbinary BOOLEAN NOT NULL, insertDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
             updateDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
             eTag VARCHAR(36) NOT NULL, expiredate TIMESTAMP NULL, INDEX expiredate_idx (expiredate))"
        );
        run(connection, create).await?;
    }
    // Tables of older versions of Dapr.
    if !has_column(connection, schema, table, "expiredate").await? {
        let add =
            format!("ALTER TABLE {table} ADD COLUMN expiredate TIMESTAMP NULL, ADD INDEX expiredate_idx (expiredate)");
        unless_made_meanwhile(run(connection, add).await)?;
    }
    if !has_column(connection, schema, table, "row_id").await? {
        let add = format!(
            "ALTER TABLE {table} ADD COLUMN row_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, ADD UNIQUE KEY row_id_uidx (row_id)"
        );
        unless_made_meanwhile(run(connection, add).await)?;
    }
    Ok(())
}

/// Two processes may open a store at the same time: that the column or the index is there now is as good.
fn unless_made_meanwhile(outcome: Result<(), sqlx::Error>) -> Result<(), sqlx::Error> {
    match outcome {
        Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("42S21" | "42000")) => {
            let mysql = error
                .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
                .map(|error| error.number());
            match mysql {
                Some(1060 | 1061) => Ok(()),
                _ => Err(sqlx::Error::Database(error)),
            }
        }
        outcome => outcome,
    }
}

async fn collation(connection: &mut MySqlConnection) -> Result<&'static str, sqlx::Error> {
    for name in COLLATIONS {
        let collations = "SELECT COUNT(*) FROM information_schema.collations WHERE collation_name = ?";
        if exists(connection, collations, &[name]).await? {
            return Ok(name);
        }
    }
    Err(sqlx::Error::Protocol(
        "the server has no collation that compares bytes".into(),
    ))
}

async fn has_table(connection: &mut MySqlConnection, schema: &str, table: &str) -> Result<bool, sqlx::Error> {
    let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ?";
    exists(connection, tables, &[schema, table]).await
}

async fn has_column(
    connection: &mut MySqlConnection,
    schema: &str,
    table: &str,
    column: &str,
) -> Result<bool, sqlx::Error> {
    let columns =
        "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = ? AND table_name = ? AND column_name = ?";
    exists(connection, columns, &[schema, table, column]).await
}

async fn exists(connection: &mut MySqlConnection, count: &'static str, names: &[&str]) -> Result<bool, sqlx::Error> {
    let query = names.iter().fold(sqlx::query(count), |query, name| query.bind(*name));
    let row = query.fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)? > 0)
}

async fn run(connection: &mut MySqlConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(|_| ())
}
