//! Dapr's publish/subscribe semantics, free of any protocol.
//!
//! The one idea: what is published becomes an envelope ([`envelope`]), what is received becomes an [`Event`], and between
//! a driver's subscription and an application stands one [`run`] that routes, delivers and settles. `dapr-server` says how
//! an application is reached ([`Deliver`]) and translates requests; drivers know brokers. It must never know a driver, a
//! socket or a header, and never settle a message that was neither handled, dropped on purpose nor dead-lettered.
//!
//! Start reading at [`PubsubComponent`], then [`run`].

mod batch;
mod bulk;
mod component;
mod condition;
mod content;
mod envelope;
mod error;
mod event;
mod outbox;
mod routes;
mod runner;
mod scopes;
mod spec;

pub use bulk::{BulkEvent, BulkItem, entries_json};
pub use component::PubsubComponent;
pub use condition::ConditionError;
pub use content::{bulk_event, is_binary, is_cloud_event, is_json, is_text};
pub use envelope::{Draft, Trace, envelope, raw_payload};
pub use error::ApiError;
pub use event::Event;
pub use outbox::{Outbox, Plan, Promise};
pub use palladium_component::pubsub::{
    BulkEntry, BulkPublishFailure, BulkPublishRequest, Features, Message, Metadata, Outcome, PublishRequest,
};
pub use routes::Routes;
pub use runner::{Deliver, Incoming, Verdict, run};
pub use spec::{Batching, Spec};

/// Metadata key under which the name of the component travels beside a delivered message.
pub const PUBSUB_NAME: &str = "pubsubName";
