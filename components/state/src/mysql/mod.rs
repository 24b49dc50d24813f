//! `state.mysql`: one table of a MySQL or MariaDB database, in Dapr's own layout.
//!
//! One idea: the layout is Dapr's, and yet keys differ in every byte: the column of keys gets a collation that compares
//! bytes when this driver makes the table, and rows of a table that is already there are matched again by their exact
//! key. In platform mode it must never read a file of the machine or connect to one of its sockets.

mod dsn;
mod metadata;
mod schema;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use palladium_component::state::StateStore;
use palladium_component::{ComponentMetadata, Hosted, OpenContext, OpenError, StateDriver, Status};
use palladium_components_sql::{self as sql, PoolSize};
use sqlx::{Connection as _, MySql};

use crate::sql::SqlStore;
use metadata::MySqlMetadata;
use table::Table;

/// The driver.
pub const DRIVER: StateDriver = StateDriver {
    type_name: "state.mysql",
    aliases: &[],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields: MySqlMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

const SERVER: &str = "MySQL";

async fn open(context: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
    let metadata = MySqlMetadata::parse(&context.properties)?;
    metadata.check()?;
    let timeout = metadata.timeout();
    let options = dsn::options(&metadata, &context.hosting)?;
    let mut first = sql::connect::<MySql>(&options, SERVER, timeout).await?;
    let prepared = tokio::time::timeout(schema::PATIENCE, schema::prepare(&mut first, &metadata)).await;
    prepared.unwrap_or_else(|_| {
        Err(OpenError::Unavailable(
            "MySQL's tables could not be prepared in time".into(),
        ))
    })?;
    let _ = first.close().await;
    let options = options.database(&metadata.schema_name);
    let pool = sql::pool::<MySql>(options, &PoolSize::default(), timeout);
    let table = Table::new(&metadata.table_name, &metadata.metadata_table_name);
    Ok(SqlStore::new(table, pool, timeout, metadata.cleanup_interval.0))
}
