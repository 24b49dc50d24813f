//! The command line. Everything it can do, the REST API and the gateway can do without it.
//!
//! One idea: a command is one file under `commands/<noun>/<verb>.rs`; what all of them share (who am I talking to, how is an
//! answer printed, how long do I wait) stands beside this file. Who may depend on it: the `palladium` executable. Start reading at
//! `commands/mod.rs`. Must never talk to anything but the control plane's REST API and a project's gateway, and must never print a
//! secret that was not asked for.

mod api;
mod commands;
mod context;
mod data_plane;
mod error;
mod input;
mod output;
mod poll;
mod resource;
mod saved;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
pub use commands::Command;
pub use context::ConnectionArgs;
pub use error::Error;

/// Runs one command line (without the executable's name) and prints what it has to say.
///
/// Exit codes: 0 done, 1 refused or failed, 2 command line not understood.
pub async fn run(command: Command, connection: &ConnectionArgs) -> ExitCode {
    match commands::run(command, connection).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, Parser)]
#[command(name = "palladium", disable_version_flag = true)]
struct Alone {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: Command,
}

/// Parses `args` (with the executable's name first) and runs it: for an executable that has no other subcommands.
pub async fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Alone::try_parse_from(args) {
        Ok(alone) => run(alone.command, &alone.connection).await,
        Err(error) => {
            // A closed terminal is no reason to fail differently.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}
