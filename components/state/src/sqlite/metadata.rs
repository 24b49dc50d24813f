//! Metadata of `state.sqlite`, under Dapr's names.
//!
//! One idea: names and defaults are Dapr's; what SQL will see is checked here. Must never let anything but letters,
//! digits and `_` through as a table name (it is put into statements), nor unmark the connection string as secret.

use std::time::Duration;

use palladium_component::metadata::Interval;
use palladium_component::{ComponentMetadata, MetadataError};
use palladium_components_sql::check_table;
use secrecy::SecretString;

use crate::sql::check_different;

/// What a component says.
#[derive(Debug, ComponentMetadata)]
pub struct SqliteMetadata {
    /// Path of the database file, as a path or a 'file:' URI; ':memory:' keeps it in memory. Treated as a secret.
    #[metadata(alias = "url", sensitive, required)]
    pub connection_string: SecretString,
    /// Table that holds the state.
    #[metadata(default = "state")]
    pub table_name: String,
    /// Table that holds the driver's own notes.
    #[metadata(default = "metadata")]
    pub metadata_table_name: String,
    /// How often expired rows are removed; 0 or less = never. Expired rows are never returned, removed or not.
    #[metadata(alias = "cleanupIntervalInSeconds", default = "0s")]
    pub cleanup_interval: Interval,
    /// How long one request may take.
    #[metadata(alias = "timeoutInSeconds", default = "20s")]
    pub timeout: Duration,
    /// How long to wait for another process that holds the database's lock.
    #[metadata(default = "2s")]
    pub busy_timeout: Duration,
    /// Whether to do without the write-ahead log; needed on network file systems.
    #[metadata(name = "disableWAL", default = "false")]
    pub disable_wal: bool,
}

impl SqliteMetadata {
    /// What the types alone cannot say.
    pub fn check(&self) -> Result<(), MetadataError> {
        if self.timeout < Duration::from_secs(1) {
            return Err(MetadataError::new("timeout", "it is less than 1s", "use 1s or more"));
        }
        for (field, table) in [
            ("tableName", &self.table_name),
            ("metadataTableName", &self.metadata_table_name),
        ] {
            check_table(field, table, false)?;
        }
        check_different(&self.table_name, &self.metadata_table_name)
    }
}
