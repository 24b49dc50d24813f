//! The region's agent. It joins the control plane, keeps the desired state, makes it true, and tells the region's processes
//! what they need: Dapr Servers by Dapr's Operator API, all of them by `Workload`. It is never in the traffic.
//!
//! The one idea: **everything is served from verified state on this region's own disk.** The control plane only appends to
//! that state ([`zone`], [`desired`]); reconcilers ([`reconcile`]) compare it with what is observed and act; views
//! ([`views`]) are pure functions of both. With the control plane dead nothing changes, not even after a restart.
//! Must never act on anything unsigned, beyond the guard rails, or from another region; must never write a secret in clear.
//!
//! Start reading at [`run`], then [`region::Region`].

mod audit;
mod config;
mod desired;
mod error;
mod guard_rails;
mod joined;
mod json_file;
mod metrics;
mod observed;
mod pointing;
mod ports;
mod read_back;
mod reconcile;
mod region;
mod revocations;
mod run;
mod secrets;
mod serve;
mod statuses;
mod supervisor;
mod tokens;
mod tombstones;
mod vault;
mod versions;
mod views;
mod zone;

pub use config::{Config, MetricsConfig, PortRange};
pub use error::Error;
pub use guard_rails::GuardRails;
pub use run::{run, run_attested};

#[cfg(test)]
mod tests;
