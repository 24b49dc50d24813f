//! Metadata of `state.postgresql`, under Dapr's names.
//!
//! One idea: the way to the server is said as for every component on PostgreSQL, see `PostgresMetadata`; what is said here is
//! about tables. Must never hold a secret of its own.

use palladium_component::ComponentMetadata;
use palladium_component::metadata::Interval;

/// What only a state store takes.
#[derive(Debug, ComponentMetadata)]
pub struct StateMetadata {
    /// Table that holds the state in version v1, with a schema before it if needed.
    #[metadata(default = "state")]
    pub table_name: String,
    /// What stands before the names of tables in version v2: a prefix, a schema with '.', or both.
    #[metadata(default = "")]
    pub table_prefix: String,
    /// Table that holds the driver's own notes, with a schema before it if needed.
    #[metadata(default = "dapr_metadata")]
    pub metadata_table_name: String,
    /// How often expired rows are removed; 0 or less = never. Expired rows are never returned, removed or not.
    #[metadata(alias = "cleanupIntervalInSeconds", default = "1h")]
    pub cleanup_interval: Interval,
}
