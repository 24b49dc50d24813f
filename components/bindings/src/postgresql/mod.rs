//! `bindings.postgresql`: the caller's own SQL on a PostgreSQL database.
//!
//! The one idea: what the statement's parameters and columns are is the server's word; values pass between it and JSON by
//! their types, in the forms that Dapr's binding gives them. Must never build SQL from a value: parameters are bound.

mod convert;
mod numeric;
mod parameters;
mod run;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;
use std::time::Duration;

use palladium_component::bindings::{Answer, Binding, BindingDriver, BindingError, Metadata, Operation, Ways};
use palladium_component::metadata::go_duration;
use palladium_component::{CallError, ComponentMetadata, Hosted, OpenContext, OpenError, Reply, Status};
use palladium_components_sql as sql;
use palladium_components_sql::postgresql::{PostgresMetadata, SERVER};
use serde_json::Value;
use sqlx::{Connection as _, Pool, Postgres};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The driver.
pub const DRIVER: BindingDriver = BindingDriver {
    type_name: "bindings.postgresql",
    aliases: &["bindings.postgres"],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: PostgresMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

const OPERATIONS: [&str; 3] = ["exec", "query", "close"];

async fn open(context: OpenContext) -> Result<Arc<dyn Binding>, OpenError> {
    let metadata = PostgresMetadata::parse(&context.properties)?;
    let (options, size) = metadata.options(&context.hosting)?;
    let first = sql::connect::<Postgres>(&options, SERVER, metadata.timeout).await?;
    let _ = first.close().await;
    Ok(Arc::new(PostgresBinding {
        pool: sql::pool::<Postgres>(options, &size, metadata.timeout),
        timeout: metadata.timeout,
        prepared: metadata.caches_statements(),
    }))
}

struct PostgresBinding {
    pool: Pool<Postgres>,
    timeout: Duration,
    /// Whether statements stay prepared on their connection.
    prepared: bool,
}

impl PostgresBinding {
    async fn call(&self, operation: &Operation) -> Result<Answer, CallError> {
        if operation.name == "close" {
            self.end().await;
            return Ok(Answer::default());
        }
        if self.pool.is_closed() {
            return Err(CallError::Unavailable("component is closed".into()));
        }
        let sql = operation.metadata.get("sql").filter(|sql| !sql.is_empty());
        let sql = sql.ok_or_else(|| CallError::Invalid("required metadata not set: sql".into()))?;
        let parameters = parameters(&operation.metadata)?;
        let started = OffsetDateTime::now_utc();
        let work = async {
            match operation.name.as_str() {
                "exec" => Ok((None, Some(self.exec(sql, &parameters).await?))),
                "query" => Ok((Some(self.query(sql, &parameters).await?), None)),
                other => Err(CallError::Invalid(format!(
                    "invalid operation type: {other}. Expected exec, query, or close"
                ))),
            }
        };
        let outcome = tokio::time::timeout(self.timeout, work).await;
        let late = |_| CallError::Unavailable(format!("{SERVER} did not answer within {:?}", self.timeout));
        let (data, rows) = outcome.map_err(late)??;
        let ended = OffsetDateTime::now_utc();
        let moment = |moment: OffsetDateTime| moment.format(&Rfc3339).unwrap_or_default();
        let mut metadata: Metadata = [
            ("operation".to_owned(), operation.name.clone()),
            ("sql".to_owned(), sql.clone()),
            ("start-time".to_owned(), moment(started)),
            ("end-time".to_owned(), moment(ended)),
            ("duration".to_owned(), go_duration((ended - started).unsigned_abs())),
        ]
        .into();
        if let Some(rows) = rows {
            metadata.insert("rows-affected".to_owned(), rows.to_string());
        }
        Ok(Answer {
            data: data.map(Into::into),
            metadata,
        })
    }

    async fn end(&self) {
        // What still works on a connection is not waited for longer than any call.
        let _ = tokio::time::timeout(self.timeout, self.pool.close()).await;
    }
}

/// The values of `params`, a JSON array.
fn parameters(metadata: &Metadata) -> Result<Vec<Value>, CallError> {
    let Some(text) = metadata.get("params").filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    // The library's words quote nothing but places.
    serde_json::from_str::<Option<Vec<Value>>>(text)
        .map(Option::unwrap_or_default)
        .map_err(|error| {
            let text = "invalid metadata property params: failed to unserialize into an array";
            CallError::Invalid(format!("{text}: {error}"))
        })
}

impl Binding for PostgresBinding {
    fn ways(&self) -> Ways {
        Ways { out: true, into: false }
    }

    fn operations(&self) -> Vec<String> {
        OPERATIONS.map(str::to_owned).to_vec()
    }

    fn invoke<'a>(&'a self, operation: &'a Operation) -> Reply<'a, Answer, BindingError> {
        Reply::wait(async move { Ok(self.call(operation).await?) })
    }

    fn close(&self) -> Reply<'_, (), CallError> {
        Reply::wait(async move {
            self.end().await;
            Ok(())
        })
    }
}
