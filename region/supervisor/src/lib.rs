//! The supervisor: parent of all processes of one machine. It starts, limits, restarts and stops them, and nothing else.
//!
//! One idea: whatever runs is in the ledger before it is told who it is, so a supervisor that was killed finds exactly its
//! own processes again, by pidfd. Its only door is a Unix socket on which the agent, and nobody else, asks for Dapr Servers.
//! Only `bin/palladium` depends on it. Start reading at [`run`], then `roles.rs`. No network, and must never
//! run anything but its own two executables.

mod config;
mod error;
mod ledger;
mod recover;
mod roles;
mod service;
mod supervisor;

pub use config::{Attestation, Config, Role};
pub use error::Error;
pub use ledger::{Entry, Ledger, State};
pub use supervisor::{STOP_DEADLINE, run};
