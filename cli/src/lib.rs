//! The command line. Everything it can do, the REST API and the gateway can do without it.
//!
//! One idea: a command is one file under `commands/<noun>/<verb>.rs`; what all of them share (who am I talking to, how is an
//! answer printed, how long do I wait) stands beside this file. Who may depend on it: the `palladium` executable. Start reading at
//! `commands/mod.rs`. Must never talk to anything but the control plane's REST API and a project's gateway, and must never print a
//! secret that was not asked for.

mod api;
mod bundle;
mod commands;
mod context;
mod data_plane;
mod error;
mod input;
mod output;
mod poll;
mod resource;
mod saved;

use std::process::ExitCode;

pub use commands::Command;
pub use context::{ConnectionArgs, without_empty_variables};
pub use error::Error;

/// Runs one command line and prints what it has to say. `whole` is the executable's command line, for `completion`.
///
/// Exit codes: 0 done, 1 refused or failed.
pub async fn run(command: Command, connection: &ConnectionArgs, whole: clap::Command) -> ExitCode {
    match commands::run(command, connection, whole).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}
