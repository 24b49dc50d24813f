//! Metadata that every state store component takes, whatever its driver. Read by the engine and the runtime.
//!
//! Must never hold a field that only one driver reads.

use palladium_component::ComponentMetadata;
use secrecy::SecretString;

/// Metadata of the building block.
#[derive(Debug, ComponentMetadata)]
pub struct StateMetadata {
    /// What stands before every key: 'appid', 'name', 'namespace', 'none', or a text of your own.
    #[metadata(default = "appid")]
    pub key_prefix: String,
    /// Whether actors and workflows keep their state here.
    #[metadata(default = "false")]
    pub actor_state_store: bool,
    /// Pub/sub component to which transactions publish (transactional outbox).
    pub outbox_publish_pubsub: Option<String>,
    /// Topic to which transactions publish.
    pub outbox_publish_topic: Option<String>,
    /// Pub/sub component that the outbox itself uses; the publishing one when absent.
    pub outbox_pubsub: Option<String>,
    /// Whether an outbox message is dropped when its state is missing.
    #[metadata(default = "false")]
    pub outbox_discard_when_missing_state: bool,
    /// Hex key that values are encrypted with before they reach the store.
    #[metadata(sensitive)]
    pub primary_encryption_key: Option<SecretString>,
    /// Former hex key, for reading what was written before a rotation.
    #[metadata(sensitive)]
    pub secondary_encryption_key: Option<SecretString>,
}
