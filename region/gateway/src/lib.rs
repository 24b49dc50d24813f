//! The gateway: everything that an application sends comes in here, and leaves towards exactly one Dapr Server.
//!
//! One idea: **the App ID token alone says where a request goes; its bytes are passed on, not understood.** A request walks
//! through five phases, see [`phases`]; what they know comes from the route table ([`table`]), which the agent feeds and
//! the disk remembers. Each worker thread has its own listener, connections and pools; they share only the table.
//! Start reading at [`run`], then `phases/mod.rs`.
//!
//! Only `bin/palladium` depends on this crate. Must never interpret a path (the one exception is that `shutdown` is not
//! for applications), decode a body, hold a token, or ask anybody while a request waits.

mod access_log;
mod body;
mod config;
mod error;
mod failure;
mod freshness;
mod headers;
mod meter;
mod metrics;
mod phases;
mod run;
mod snapshot;
mod subscription;
mod table;
mod target;
mod upstream;
mod uses;
mod worker;

pub use config::{AccessLog, Config, LimitsConfig};
pub use error::Error;
pub use run::run;

#[cfg(test)]
mod tests;
