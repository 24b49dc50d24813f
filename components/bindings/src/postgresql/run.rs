//! Running a statement: with parameters it is prepared first, so that their types are known.
//!
//! One idea: without parameters a statement that answers nothing goes to the server as a plain text, which may hold several,
//! as Dapr's binding does it. Must never hold more of a result than [`LONGEST`].

use futures_util::TryStreamExt as _;
use palladium_component::CallError;
use palladium_components_sql::postgresql::SERVER;
use palladium_components_sql::{Lease, told};
use serde_json::Value;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, PgStatement};
use sqlx::query::Query;
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Executor as _, Postgres, Row as _, SqlSafeStr as _, Statement as _,
};

use super::value::{self, Unreadable};
use super::{PostgresBinding, convert, parameters};

/// Bytes of JSON that one result may have.
pub(super) const LONGEST: usize = 64 << 20;

/// Why a statement has no result.
pub(super) enum Failed {
    Call(CallError),
    Sql(sqlx::Error),
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Failed::Call(error)
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Failed::Sql(error)
    }
}

impl Failed {
    fn into_call(self) -> CallError {
        let said = |text: String| format!("error executing query: {text}");
        match self {
            Failed::Call(error) => error,
            Failed::Sql(error) => match told(SERVER, &error) {
                CallError::Unavailable(text) => CallError::Unavailable(said(text)),
                error => CallError::Other(said(error.to_string())),
            },
        }
    }
}

impl PostgresBinding {
    /// How many rows a statement, or the last one of several, affected.
    pub(super) async fn exec(&self, sql: &str, values: &[Value]) -> Result<u64, CallError> {
        let mut lease = self.lease().await?;
        let mut outcome = self.exec_on(&mut lease, sql, values).await;
        if is_outdated(&outcome) {
            clear(&mut lease).await?;
            outcome = self.exec_on(&mut lease, sql, values).await;
        }
        lease.done();
        outcome.map_err(Failed::into_call)
    }

    async fn exec_on(&self, connection: &mut PgConnection, sql: &str, values: &[Value]) -> Result<u64, Failed> {
        if values.is_empty() {
            let mut results = sqlx::raw_sql(AssertSqlSafe(sql)).execute_many(connection);
            let mut rows = 0;
            while let Some(result) = results.try_next().await? {
                rows = result.rows_affected();
            }
            return Ok(rows);
        }
        let statement = prepare(connection, sql).await?;
        let query = bound(connection, &statement, values).await?;
        let result = query.execute(&mut *connection).await;
        self.forget(connection).await?;
        Ok(result?.rows_affected())
    }

    /// The rows of a statement, as a JSON array of arrays.
    pub(super) async fn query(&self, sql: &str, values: &[Value]) -> Result<String, CallError> {
        let mut lease = self.lease().await?;
        let mut outcome = self.query_on(&mut lease, sql, values).await;
        if is_outdated(&outcome) {
            clear(&mut lease).await?;
            outcome = self.query_on(&mut lease, sql, values).await;
        }
        // Of a result that was not read to its end there is more to come on the connection.
        if !matches!(outcome, Err(Failed::Call(CallError::Other(_)))) {
            lease.done();
        }
        outcome.map_err(Failed::into_call)
    }

    async fn query_on(&self, connection: &mut PgConnection, sql: &str, values: &[Value]) -> Result<String, Failed> {
        let statement = prepare(connection, sql).await?;
        let query = bound(connection, &statement, values).await?;
        let mut text = String::from("[");
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            if text.len() > 1 {
                text.push(',');
            }
            write_row(&mut text, &row)?;
            if text.len() > LONGEST {
                let said = format!("the result is longer than {LONGEST} bytes of JSON: ask for fewer rows");
                return Err(CallError::Other(said).into());
            }
        }
        drop(rows);
        self.forget(connection).await?;
        text.push(']');
        Ok(text)
    }

    async fn lease(&self) -> Result<Lease<Postgres>, CallError> {
        Lease::take(&self.pool).await.map_err(|error| told(SERVER, &error))
    }

    async fn forget(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        match self.prepared {
            true => Ok(()),
            false => connection.clear_cached_statements().await,
        }
    }
}

/// Whether a statement was prepared for columns that the table has no more. The server has done nothing yet.
fn is_outdated<T>(outcome: &Result<T, Failed>) -> bool {
    match outcome {
        Err(Failed::Sql(sqlx::Error::Database(error))) => error.code().as_deref() == Some("0A000"),
        _ => false,
    }
}

async fn clear(connection: &mut PgConnection) -> Result<(), CallError> {
    connection
        .clear_cached_statements()
        .await
        .map_err(|error| told(SERVER, &error))
}

async fn prepare(connection: &mut PgConnection, sql: &str) -> Result<PgStatement, sqlx::Error> {
    connection.prepare(AssertSqlSafe(sql).into_sql_str()).await
}

/// The statement with its values, in the forms of the parameters that the server says it has.
async fn bound<'q>(
    connection: &mut PgConnection,
    statement: &PgStatement,
    values: &[Value],
) -> Result<Query<'q, Postgres, PgArguments>, Failed> {
    let types = match statement.parameters() {
        Some(sqlx::Either::Left(types)) => types,
        _ => &[],
    };
    if types.len() != values.len() {
        let text = format!("expected {} arguments, got {}", types.len(), values.len());
        return Err(CallError::Invalid(text).into());
    }
    let mut forms = parameters::forms(types, values)?;
    convert::by_server(connection, &mut forms).await?;
    let mut query = sqlx::query(statement.sql().clone());
    for form in forms {
        query = query.bind(form);
    }
    Ok(query)
}

fn write_row(text: &mut String, row: &PgRow) -> Result<(), Failed> {
    text.push('[');
    for place in 0..row.len() {
        if place > 0 {
            text.push(',');
        }
        let value = row.try_get_raw(place)?;
        let kind = sqlx::ValueRef::type_info(&value).into_owned();
        let bytes = match sqlx::ValueRef::is_null(&value) {
            true => None,
            false => Some(value.as_bytes().map_err(sqlx::Error::Decode)?),
        };
        value::write(text, &kind, bytes).map_err(|unreadable| {
            let column = row.column(place).name();
            CallError::Other(match unreadable {
                Unreadable::Kind(kind) => {
                    format!("column {column:?} is of type {kind}, for which there is no JSON: select {column:?}::text")
                }
                Unreadable::Value => format!("a value of column {column:?} cannot be told in JSON"),
            })
        })?;
    }
    text.push(']');
    Ok(())
}
