//! Metadata of `pubsub.diagrid`, under Catalyst's names where it has them.
//!
//! Must never get an address or a credential, nor say whose messages these are: `consumerID` is read by the agent, which
//! tells the store.

use std::time::Duration;

use palladium_component::ComponentMetadata;

/// What a component says. Which store, where it is and who asks comes from the region, never from here.
#[derive(Debug, ComponentMetadata)]
pub struct DiagridMetadata {
    /// Name of the managed broker; the component's own name when absent.
    #[allow(dead_code)]
    pub pubsub: Option<String>,
    /// How long a message is kept that does not say so itself, in seconds; as long as the region keeps messages (a week) when
    /// absent.
    #[metadata(name = "ttlInSeconds")]
    pub ttl_in_seconds: Option<u32>,
    /// How long a message that failed is left alone before it is delivered again.
    #[metadata(default = "5s")]
    pub redeliver_interval: Duration,
    /// How many messages of a subscription are under way at a time; 1000 at most.
    #[metadata(default = "64")]
    pub concurrency: u32,
    /// What a consumer group begins with that subscribes to a topic for the first time: 'oldest' = what the topic keeps,
    /// 'newest' = what is published from then on.
    #[metadata(default = "oldest", allowed = "oldest", allowed = "newest")]
    pub initial_offset: String,
}
