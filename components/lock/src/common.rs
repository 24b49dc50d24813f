//! Metadata that every lock component takes, whatever its driver. Read by the engine.
//!
//! Must never hold a field that only one driver reads.

use palladium_component::ComponentMetadata;

/// Metadata of the building block.
#[derive(Debug, ComponentMetadata)]
pub struct LockMetadata {
    /// What stands before every resource's name: 'appid', 'name', 'none', or a text of your own.
    #[metadata(default = "appid")]
    pub key_prefix: String,
}
