//! `state.postgresql`: one table of a PostgreSQL database, in Dapr's own layouts, version 1 and version 2.
//!
//! One idea: version 1 keeps JSON as `jsonb` and takes the row version `xmin` for an etag, version 2 keeps bytes and makes
//! etags; everything else is one driver. In platform mode it must never read a file of the machine or connect to one of
//! its sockets.

mod metadata;
mod query;
mod schema;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use palladium_component::state::StateStore;
use palladium_component::{ComponentMetadata, FieldSpec, Hosted, OpenContext, OpenError, StateDriver, Status};
use palladium_components_sql as sql;
use palladium_components_sql::postgresql::{PostgresMetadata, SERVER};
use sqlx::{Connection as _, Postgres};

use crate::sql::SqlStore;
use metadata::StateMetadata;
use table::{Layout, Table};

/// The driver.
pub const DRIVER: StateDriver = StateDriver {
    type_name: "state.postgresql",
    aliases: &["state.postgres"],
    versions: &["v1", "v2"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

fn fields() -> Vec<FieldSpec> {
    [PostgresMetadata::fields(), StateMetadata::fields()].concat()
}

async fn open(context: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
    let server = PostgresMetadata::parse(&context.properties)?;
    let metadata = StateMetadata::parse(&context.properties)?;
    let layout = match context.version.eq_ignore_ascii_case("v2") {
        true => Layout::V2,
        false => Layout::V1,
    };
    let names = schema::Names::new(&metadata, layout)?;
    let (options, size) = server.options(&context.hosting)?;
    let mut first = sql::connect::<Postgres>(&options, SERVER, server.timeout).await?;
    let prepared = tokio::time::timeout(schema::PATIENCE, schema::migrate(&mut first, layout, &names)).await;
    prepared.unwrap_or_else(|_| {
        Err(OpenError::Unavailable(
            "PostgreSQL's tables could not be prepared in time".into(),
        ))
    })?;
    let _ = first.close().await;
    let table = Table::new(layout, &names, server.caches_statements());
    let pool = sql::pool::<Postgres>(options, &size, server.timeout);
    Ok(SqlStore::new(table, pool, server.timeout, metadata.cleanup_interval.0))
}
