//! Publish/subscribe in one Dapr Server: what HTTP and gRPC share.
//!
//! One idea: publishing is a function of one call ([`publish`]); receiving is a state that one task keeps
//! ([`keeper`]): which subscriptions there should be follows from components, declarations, the application's own list
//! and its health, and whatever runs otherwise is started or stopped. Rules lie in the engine. Must never deliver while
//! the application is unhealthy, nor hold a message that nobody is going to settle.

mod deliver;
pub mod keeper;
mod programmatic;
pub mod publish;
pub mod stream;
mod subscriptions;

use std::sync::Arc;

use palladium_engine_pubsub::PubsubComponent;

use crate::metrics::PubsubMetrics;

pub use subscriptions::{Origin, Subscriptions};

/// An opened component with its metrics.
pub struct PubsubEntry {
    /// The engine's component.
    pub component: Arc<PubsubComponent>,
    /// Handles for counting.
    pub metrics: PubsubMetrics,
}
