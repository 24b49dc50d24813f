//! What a parent tells a process at its start, and the form of the tokens that applications carry.
//!
//! Two processes must agree on these: the supervisor or agent that starts a role, and the role; the agent that mints an
//! App ID token, the gateway and the Dapr Server that check one. Types and parsing only: must never start anything,
//! and configuration must never hold a secret (the launch envelope on standard input may).

pub mod app_token;
mod dapr_server;
pub mod exit;

pub use dapr_server::DaprServerConfig;
pub use palladium_identity::{Envelope, EnvelopeError, IdentityConfig};

/// Bytes of a Dapr Server's page of metrics: it says no more, and the agent takes no more.
pub const METRICS_PAGE: usize = 16 << 20;
