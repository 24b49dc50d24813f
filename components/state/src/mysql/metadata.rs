//! Metadata of `state.mysql`, under Dapr's names.
//!
//! One idea: names and defaults are Dapr's; what SQL will see is checked here. Must never let anything but letters, digits
//! and `_` through as the name of a schema or a table, nor unmark the connection string as secret.

use std::time::Duration;

use palladium_component::metadata::Interval;
use palladium_component::{ComponentMetadata, MetadataError};
use palladium_components_sql::check_table;
use secrecy::SecretString;

use crate::sql::check_different;

/// What a component says.
#[derive(Debug, ComponentMetadata)]
pub struct MySqlMetadata {
    /// How to connect, as 'user:password@tcp(host:3306)/', without the name of a database. Treated as a secret.
    #[metadata(alias = "url", sensitive, required)]
    pub connection_string: SecretString,
    /// Database that holds the tables; made when it is not there.
    #[metadata(default = "dapr_state_store")]
    pub schema_name: String,
    /// Table that holds the state.
    #[metadata(default = "state")]
    pub table_name: String,
    /// Table that holds the driver's own notes.
    #[metadata(default = "dapr_metadata")]
    pub metadata_table_name: String,
    /// How long one request may take, in seconds; 20 when 0 or less.
    #[metadata(alias = "timeout", default = "20")]
    pub timeout_in_seconds: i32,
    /// How often expired rows are removed; 0 or less = never. Expired rows are never returned, removed or not.
    #[metadata(default = "1h")]
    pub cleanup_interval: Interval,
    /// Path of a PEM file with the authority that the server is checked against; needs 'tls=custom' in the connection string.
    pub pem_path: Option<String>,
    /// The content of such a file, instead of its path.
    pub pem_contents: Option<String>,
}

impl MySqlMetadata {
    /// What the types alone cannot say.
    pub fn check(&self) -> Result<(), MetadataError> {
        for (field, name) in [
            ("schemaName", &self.schema_name),
            ("tableName", &self.table_name),
            ("metadataTableName", &self.metadata_table_name),
        ] {
            check_table(field, name, false)?;
        }
        check_different(&self.table_name, &self.metadata_table_name)
    }

    /// How long one request may take.
    pub fn timeout(&self) -> Duration {
        let seconds = u64::try_from(self.timeout_in_seconds).unwrap_or(0);
        Duration::from_secs(if seconds == 0 { 20 } else { seconds })
    }
}
