//! Dapr's runtime for one App ID.
//!
//! One idea: the same runtime in two forms. As `daprd` ([`main_drop_in`]) it takes flags, files and plaintext ports; in
//! platform mode ([`main_platform`], [`run`]) it has no plaintext port, gets everything over mutual TLS from the agent, and
//! serves one gateway. What both share is one [`server::Server`]; building blocks are one file each under `http/` and
//! `grpc/`, their semantics lie in the engines, their drivers in `components/`.
//!
//! Start reading at [`http::handle`] for a request, at [`drop_in`] or [`platform`] for the start. Must never import another
//! role of the region: whatever it knows of them it learns by protocol.

mod agent;
mod api_rules;
mod app_channel;
mod auth;
mod bell;
mod bindings;
mod closing;
mod components;
mod config;
mod configuration;
mod conversation;
mod cors;
mod crypto;
pub mod drop_in;
mod entry;
mod errors;
mod grpc;
pub mod http;
mod invoke;
#[cfg(test)]
mod limits_tests;
mod listen;
mod loader;
mod lock;
mod logs;
mod metadata;
mod metrics;
mod outbox;
mod pipeline;
pub mod platform;
mod pubsub;
mod ready;
mod resiliency;
mod resources;
mod rules;
mod secret_stores;
mod secrets;
pub mod server;
#[cfg(test)]
mod testing;
mod trace;
mod workers;

pub use drop_in::main_drop_in;
pub use platform::{main_platform, run};
