//! `configuration.postgresql`: one table of a PostgreSQL database, which its operator makes, with a trigger that tells of
//! changes in Dapr's form.
//!
//! The one idea: a notification only names the row's key; what is told is what a reading of that key gives then, so that a
//! deleted row is told as gone and not, as the trigger says it, as it was. Must never write to the table, nor make it.

mod line;
mod member;
mod metadata;
mod reader;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use palladium_component::{
    ComponentMetadata, ConfigurationDriver, ConfigurationStore, FieldSpec, Hosted, OpenContext, OpenError, Status,
};
use palladium_components_sql as sql;
use palladium_components_sql::postgresql::{PostgresMetadata, SERVER};
use sqlx::{Connection as _, Postgres};

use line::Dial;
use metadata::ConfigurationMetadata;
use reader::Reader;
use store::PostgresConfiguration;

/// The driver.
pub const DRIVER: ConfigurationDriver = ConfigurationDriver {
    type_name: "configuration.postgresql",
    aliases: &["configuration.postgres"],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Allowed,
    fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

fn fields() -> Vec<FieldSpec> {
    [PostgresMetadata::fields(), ConfigurationMetadata::fields()].concat()
}

async fn open(context: OpenContext) -> Result<Arc<dyn ConfigurationStore>, OpenError> {
    let server = PostgresMetadata::parse(&context.properties)?;
    let metadata = ConfigurationMetadata::parse(&context.properties)?;
    metadata.check()?;
    let timeout = server.timeout;
    let (options, size) = server.options(&context.hosting)?;
    let mut first = sql::connect::<Postgres>(&options, SERVER, timeout).await?;
    reader::check_there(&mut first, &metadata.table, timeout).await?;
    let _ = first.close().await;
    let pool = sql::pool::<Postgres>(options.clone(), &size, timeout);
    let reader = Reader::new(pool, &metadata.table, timeout, server.caches_statements());
    let channel = metadata.channel().map(str::to_owned);
    Ok(Arc::new(PostgresConfiguration::new(
        reader,
        channel,
        Dial::new(options, timeout),
    )))
}
