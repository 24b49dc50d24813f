//! Tables of `state.postgresql`: Dapr's own layouts, so that daprd and this driver can share a database.
//!
//! One idea: the level of a layout is noted in the metadata table, steps are taken from there on under the lock row that
//! Dapr takes too, and all of them are one transaction. Must never change a table whose level is up to date.

use std::time::Duration;

use palladium_component::{MetadataError, OpenError};
use palladium_components_sql::check_table;
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};

use super::metadata::StateMetadata;
use super::table::Layout;

/// How long preparing the tables may take: somebody else may be at it, and tables may be large.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Checked names of tables.
pub(super) struct Names {
    pub(super) state: String,
    pub(super) notes: String,
    /// Key of the note that holds the level.
    level: String,
    /// Key of the note that holds the moment of the last clean-up.
    pub(super) last_cleanup: String,
}

impl Names {
    pub(super) fn new(metadata: &StateMetadata, layout: Layout) -> Result<Self, MetadataError> {
        let prefix = &metadata.table_prefix;
        let (field, state, level, last_cleanup) = match layout {
            Layout::V1 => (
                "tableName",
                metadata.table_name.clone(),
                "migrations".to_owned(),
                "last-cleanup".to_owned(),
            ),
            Layout::V2 => (
                "tablePrefix",
                format!("{prefix}state"),
                format!("migrations-state-v2-{prefix}"),
                format!("last-cleanup-state-v2-{prefix}"),
            ),
        };
        check_table(field, &state, true)?;
        check_table("metadataTableName", &metadata.metadata_table_name, true)?;
        if state.eq_ignore_ascii_case(&metadata.metadata_table_name) {
            return Err(MetadataError::new(
                "metadataTableName",
                "it is the table of the state",
                "use two different tables",
            ));
        }
        Ok(Names {
            state,
            notes: metadata.metadata_table_name.clone(),
            level,
            last_cleanup,
        })
    }
}

/// Creates what is missing. Tables that are already there are accepted as they are.
pub(super) async fn migrate(connection: &mut PgConnection, layout: Layout, names: &Names) -> Result<(), OpenError> {
    let steps = match layout {
        Layout::V1 => 3,
        Layout::V2 => 2,
    };
    let failed =
        |error: sqlx::Error| OpenError::Unavailable(format!("failed to prepare the PostgreSQL tables: {error}"));
    if level(connection, names).await.is_ok_and(|level| level >= steps) {
        return Ok(());
    }
    make_notes(connection, names).await.map_err(failed)?;
    let mut transaction = connection.begin().await.map_err(failed)?;
    let lock = format!("SELECT value FROM {} WHERE key = 'lock' FOR UPDATE", names.notes);
    sqlx::query(AssertSqlSafe(lock))
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    let from = level(&mut transaction, names).await.map_err(failed)?;
    for step in from..steps {
        match (layout, step) {
            (Layout::V1, 0) => create_v1(&mut transaction, names).await,
            (Layout::V1, 1) => {
                run(
                    &mut transaction,
                    format!(
                        "ALTER TABLE {} ADD COLUMN IF NOT EXISTS expiredate TIMESTAMP WITH TIME ZONE",
                        names.state
                    ),
                )
                .await
            }
            (Layout::V1, _) => number_rows(&mut transaction, names, "insertdate").await,
            (Layout::V2, 0) => create_v2(&mut transaction, names).await,
            (Layout::V2, _) => number_rows(&mut transaction, names, "created_at").await,
        }
        .map_err(failed)?;
    }
    if from < steps {
        let note = format!(
            "INSERT INTO {} (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            names.notes
        );
        let note = sqlx::query(AssertSqlSafe(note))
            .bind(&names.level)
            .bind(steps.to_string());
        note.execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}

async fn level(connection: &mut PgConnection, names: &Names) -> Result<i32, sqlx::Error> {
    let read = format!("SELECT value FROM {} WHERE key = $1", names.notes);
    let noted: Option<String> = sqlx::query_scalar(AssertSqlSafe(read))
        .bind(&names.level)
        .fetch_optional(connection)
        .await?;
    let level = noted.map_or(Ok(0), |text| text.trim().parse::<i32>());
    level.map_err(|_| sqlx::Error::Protocol("the level of the tables is no number".into()))
}

/// What the server says of two that create the same at once, depending on how far the other one was: a row of the
/// catalog, a type or a table is there already.
fn is_there_already(error: &dyn DatabaseError) -> bool {
    error.is_unique_violation() || matches!(error.code().as_deref(), Some("42710" | "42P07"))
}

/// The table of notes, with the row that is the lock. Two that create a table at once get in each other's way.
async fn make_notes(connection: &mut PgConnection, names: &Names) -> Result<(), sqlx::Error> {
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {} (key text NOT NULL PRIMARY KEY, value text NOT NULL)",
        names.notes
    );
    for attempt in 0.. {
        match run(connection, create.clone()).await {
            Err(sqlx::Error::Database(error)) if is_there_already(&*error) && attempt < 3 => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            outcome => {
                outcome?;
                break;
            }
        }
    }
    let lock = format!(
        "INSERT INTO {} (key, value) VALUES ('lock', 'lock') ON CONFLICT (key) DO NOTHING",
        names.notes
    );
    run(connection, lock).await
}

async fn create_v1(transaction: &mut Transaction<'_, Postgres>, names: &Names) -> Result<(), sqlx::Error> {
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {} (key text NOT NULL PRIMARY KEY, value jsonb NOT NULL, isbinary boolean NOT NULL, \
         insertdate TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(), updatedate TIMESTAMP WITH TIME ZONE NULL)",
        names.state
    );
    run(transaction, create).await
}

async fn create_v2(transaction: &mut Transaction<'_, Postgres>, names: &Names) -> Result<(), sqlx::Error> {
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {0} (key text NOT NULL PRIMARY KEY, value bytea NOT NULL, \
         etag uuid NOT NULL DEFAULT gen_random_uuid(), created_at timestamp with time zone NOT NULL DEFAULT now(), \
         updated_at timestamp with time zone, expires_at timestamp with time zone); \
         CREATE INDEX ON {0} (expires_at)",
        names.state
    );
    run(transaction, create).await
}

/// Gives rows a number of their own, in the order in which they were made: daprd lists keys by it.
async fn number_rows(
    transaction: &mut Transaction<'_, Postgres>,
    names: &Names,
    made: &str,
) -> Result<(), sqlx::Error> {
    let table = &names.state;
    let known: (String, bool) = sqlx::query_as(
        "SELECT quote_ident(c.relname || '_row_id_uidx'), EXISTS (SELECT 1 FROM pg_attribute a \
         WHERE a.attrelid = c.oid AND a.attname = 'row_id' AND a.attidentity <> '') \
         FROM pg_class c WHERE c.oid = to_regclass($1)",
    )
    .bind(table)
    .fetch_one(&mut **transaction)
    .await?;
    let (index, is_identity) = known;
    run(
        transaction,
        format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS row_id BIGINT"),
    )
    .await?;
    let number = format!(
        "UPDATE {table} AS t SET row_id = r.n FROM (SELECT key, ROW_NUMBER() OVER (ORDER BY {made} ASC, key ASC) AS n \
         FROM {table} WHERE row_id IS NULL) AS r WHERE r.key = t.key"
    );
    run(transaction, number).await?;
    run(
        transaction,
        format!("ALTER TABLE {table} ALTER COLUMN row_id SET NOT NULL"),
    )
    .await?;
    if !is_identity {
        run(
            transaction,
            format!("ALTER TABLE {table} ALTER COLUMN row_id ADD GENERATED BY DEFAULT AS IDENTITY"),
        )
        .await?;
    }
    let follow = format!(
        "SELECT setval(pg_get_serial_sequence($1, 'row_id'), COALESCE((SELECT MAX(row_id) FROM {table}), 0) + 1, false)"
    );
    sqlx::query(AssertSqlSafe(follow))
        .bind(table)
        .execute(&mut **transaction)
        .await?;
    run(
        transaction,
        format!("CREATE UNIQUE INDEX IF NOT EXISTS {index} ON {table} (row_id)"),
    )
    .await
}

async fn run(connection: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(|_| ())
}
