//! `state.postgresql`: one table of a PostgreSQL database, in Dapr's own layouts, version 1 and version 2.
//!
//! One idea: version 1 keeps JSON as `jsonb` and takes the row version `xmin` for an etag, version 2 keeps bytes and makes
//! etags; everything else is one driver. In platform mode it must never read a file of the machine or connect to one of
//! its sockets.

mod connection;
mod metadata;
mod query;
mod schema;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use palladium_component::state::StateStore;
use palladium_component::{ComponentMetadata, Hosted, OpenContext, OpenError, StateDriver, Status};
use sqlx::{Connection as _, Postgres};

use crate::sql::{self, SqlStore};
use metadata::PostgresMetadata;
use table::{Layout, Table};

/// The driver.
pub const DRIVER: StateDriver = StateDriver {
    type_name: "state.postgresql",
    aliases: &["state.postgres"],
    versions: &["v1", "v2"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: PostgresMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

const SERVER: &str = "PostgreSQL";

async fn open(context: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
    let metadata = PostgresMetadata::parse(&context.properties)?;
    metadata.check()?;
    let layout = match context.version.eq_ignore_ascii_case("v2") {
        true => Layout::V2,
        false => Layout::V1,
    };
    let names = schema::Names::new(&metadata, layout)?;
    let (options, size) = connection::options(&metadata, &context.hosting)?;
    let mut first = sql::connect::<Postgres>(&options, SERVER, metadata.timeout).await?;
    let prepared = tokio::time::timeout(schema::PATIENCE, schema::migrate(&mut first, layout, &names)).await;
    prepared.unwrap_or_else(|_| {
        Err(OpenError::Unavailable(
            "PostgreSQL's tables could not be prepared in time".into(),
        ))
    })?;
    let _ = first.close().await;
    let table = Table::new(layout, &names, metadata.caches_statements());
    let pool = sql::pool::<Postgres>(options, &size, metadata.timeout);
    Ok(SqlStore::new(
        table,
        pool,
        metadata.timeout,
        metadata.cleanup_interval.0,
    ))
}
