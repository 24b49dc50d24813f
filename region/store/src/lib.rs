//! The managed services of a region: key-value state behind Dapr's own component protocol, and publish/subscribe behind a
//! protocol of ours; durable and encrypted.
//!
//! The one idea: **who asks is the certificate, what they may touch is the agent's table.** A Dapr Server names a component;
//! project and App ID come from its SVID alone, and the table ([`access`]) says whether that App ID has that component and
//! under which uid its rows lie. Every project has its own SQLite file and its own data key ([`projects`], [`rows`]); one
//! writer per project turns concurrent writes into one flush, and nothing is acknowledged before it is on disk.
//!
//! Only `bin/palladium` depends on this crate. Must never believe a request about who is asking, return a row of another
//! project, or acknowledge what a power failure could take back. Start reading at [`run`], then `rows/mod.rs`; for
//! messages `service/bus.rs`, then `bus/mod.rs`.

mod access;
mod agent;
mod budget;
mod bus;
mod config;
mod error;
mod projects;
mod rows;
mod run;
mod service;

pub use config::Config;
pub use error::Error;
pub use rows::BusLimits;
pub use run::run;

#[cfg(test)]
mod tests;
