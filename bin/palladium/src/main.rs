//! `palladium`: every role but the Dapr Server, the command line, and `up`, which starts all roles on one machine.
//!
//! One idea: `main` picks who this process is and gets out of the way. Called `sentry` it is Dapr's program of that name.
//! Must never do anything before the crypto provider is installed, nor keep state of its own.

mod roles;
mod up;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use palladium_launch::exit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Dapr on your own machines: an identity, a TLS address and a token per application.
#[derive(Debug, Parser)]
#[command(name = "palladium", version)]
struct Line {
    #[command(flatten)]
    connection: palladium_cli::ConnectionArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, for the life of a command")]
enum Command {
    /// Start everything on this machine and keep it running
    Up(up::Flags),
    /// Run one role in the foreground; a supervisor does this
    Run(roles::Run),
    #[command(flatten)]
    Client(palladium_cli::Command),
}

fn main() -> ExitCode {
    palladium_tls::install_crypto_provider();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let called = arguments
        .first()
        .and_then(|name| Path::new(name).file_stem())
        .unwrap_or_default();
    if called == "sentry" {
        return palladium_sentry::main_drop_in(arguments);
    }
    let line = palladium_cli::without_empty_variables(Line::command()).try_get_matches_from(arguments);
    let line = match line.and_then(|matches| Line::from_arg_matches(&matches)) {
        Ok(line) => line,
        Err(error) => {
            // A closed terminal is no reason to fail differently.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(exit::USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match line.command {
        Command::Run(run) => run.main(),
        Command::Up(flags) => with_runtime(up::main(flags, line.connection.data_folder())),
        Command::Client(command) => with_runtime(palladium_cli::run(command, &line.connection, Line::command())),
    }
}

/// Runs a client's work on one thread.
fn with_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(_) => ExitCode::from(exit::UNAVAILABLE),
    }
}
