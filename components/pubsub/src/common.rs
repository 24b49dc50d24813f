//! Metadata that every publish/subscribe component takes, whatever its driver. Read by the engine and the runtime.
//!
//! Must never hold a field that only one driver reads.

use palladium_component::ComponentMetadata;

/// Metadata of the building block.
#[derive(Debug, ComponentMetadata)]
pub struct PubsubMetadata {
    /// Name under which this App ID receives; those of the same name share the messages of a topic. The App ID when absent.
    #[metadata(name = "consumerID")]
    pub consumer_id: Option<String>,
    /// Which App IDs may publish to which topics: 'app1=topic1,topic2;app2='. An App ID that is not named may publish to
    /// all that is not protected.
    pub publishing_scopes: Option<String>,
    /// Which App IDs may receive which topics, in the same form.
    pub subscription_scopes: Option<String>,
    /// The only topics there are, separated by commas; all when absent.
    pub allowed_topics: Option<String>,
    /// Topics for App IDs that a scope names, separated by commas.
    pub protected_topics: Option<String>,
}
