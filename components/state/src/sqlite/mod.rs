//! `state.sqlite`: one SQLite file, in Dapr's own layout.
//!
//! The one idea: one connection writes, several read. Writers queue in front of that connection instead of meeting as
//! `SQLITE_BUSY` behind it, and a bulk write is one transaction with one flush. In platform mode the file is confined
//! to the App ID's own folder ([`confine`]). Must never open a second connection that writes, nor, in platform mode, a
//! file that [`confine`] has not passed.

mod confine;
mod location;
mod metadata;
mod schema;
mod store;

use std::sync::Arc;
use std::time::Duration;

use palladium_component::state::StateStore;
use palladium_component::{
    ComponentMetadata, Hosted, Hosting, MetadataError, OpenContext, OpenError, StateDriver, Status,
};
use secrecy::ExposeSecret as _;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use location::Location;
use metadata::SqliteMetadata;
use schema::Statements;
use store::SqliteStore;

/// The driver.
pub const DRIVER: StateDriver = StateDriver {
    type_name: "state.sqlite",
    aliases: &["state.sqlite3"],
    versions: &["v1"],
    status: Status::Stable,
    hosted: Hosted::Confined,
    fields: SqliteMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

const READERS: u32 = 4;

async fn open(context: OpenContext) -> Result<Arc<dyn StateStore>, OpenError> {
    let metadata = SqliteMetadata::parse(&context.properties)?;
    metadata.check()?;
    let location = location::locate(metadata.connection_string.expose_secret(), &context.hosting)?;
    if let (Hosting::Platform { folder }, Some(file)) = (&context.hosting, &location.file) {
        let (folder, file) = (folder.clone(), file.clone());
        let made = tokio::task::spawn_blocking(move || confine::make_room(&folder, &file)).await;
        made.unwrap_or_else(|error| {
            Err(OpenError::Unavailable(format!(
                "preparing the SQLite database failed: {error}"
            )))
        })?;
    }
    let (writer, readers) = pools(&metadata, &location).await?;
    if !(location.read_only || location.immutable) {
        schema::migrate(&writer, &metadata.table_name, &metadata.metadata_table_name).await?;
    }
    let statements = Statements::new(&metadata.table_name, &metadata.metadata_table_name);
    let store = Arc::new(SqliteStore::new(
        writer,
        readers,
        statements,
        metadata.timeout,
        location.file.is_some(),
    ));
    if let Some(interval) = metadata.cleanup_interval.0 {
        store.clean_up_every(interval);
    }
    Ok(store)
}

/// The writing connection and the reading ones; the same single connection for a database in memory.
async fn pools(metadata: &SqliteMetadata, location: &Location) -> Result<(SqlitePool, SqlitePool), OpenError> {
    let mut options = SqliteConnectOptions::new()
        .create_if_missing(!location.read_only)
        .read_only(location.read_only)
        .immutable(location.immutable)
        .busy_timeout(metadata.busy_timeout)
        .synchronous(SqliteSynchronous::Full);
    for (name, value) in &location.pragmas {
        options = options.pragma(name.clone(), value.clone());
    }
    options = match &location.file {
        None => options.in_memory(true),
        Some(file) => options.filename(plain_path(file)?),
    };
    if location.file.is_some() && !location.read_only && !location.immutable {
        let journal = if metadata.disable_wal {
            SqliteJournalMode::Delete
        } else {
            SqliteJournalMode::Wal
        };
        options = options.journal_mode(journal);
    }
    let one = pool(options.clone(), 1, metadata.timeout).await?;
    if location.file.is_none() {
        return Ok((one.clone(), one));
    }
    let readers = pool(options, READERS, metadata.timeout).await?;
    Ok((one, readers))
}

async fn pool(options: SqliteConnectOptions, connections: u32, timeout: Duration) -> Result<SqlitePool, OpenError> {
    // Connections live as long as the store: a database in memory would vanish with its last one.
    let pool = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(connections)
        .acquire_timeout(timeout);
    let opened = pool.idle_timeout(None).max_lifetime(None).connect_with(options).await;
    opened.map_err(|error| OpenError::Unavailable(format!("failed to open the SQLite database: {error}")))
}

/// SQLite reads a name that begins with `file:` as a URI; a path of that spelling gets a neutral beginning.
fn plain_path(file: &std::path::Path) -> Result<std::path::PathBuf, OpenError> {
    let text = file
        .to_str()
        .ok_or_else(|| MetadataError::new("connectionString", "it is not UTF-8", "use an ordinary path"))?;
    let special = text.starts_with("file:") || text.starts_with(':');
    Ok(if special {
        std::path::Path::new(".").join(file)
    } else {
        file.to_path_buf()
    })
}

#[cfg(test)]
mod tests;
