//! The workspace's own tool: checks, generators, the fuzzers and the runner of upstream's suite.
//!
//! One idea: whatever a person could forget, a table in this crate remembers. It must never be needed to build or run
//! Palladium itself.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command-line tool talks on the terminal

mod check;
mod fuzz;
mod generate;
mod upstream;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Checks and generators of the workspace")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the checks: format, lints, directions, sizes, licences, unused dependencies, generated files
    Check {
        /// Only these steps
        steps: Vec<String>,
    },
    /// Look for inputs that break a promise of what reads them
    Fuzz(fuzz::Options),
    /// Run cases of upstream's integration suite against our programs or the originals
    Upstream(Box<upstream::Options>),
    /// Write the committed generated files
    Generate {
        /// Only tell whether they are fresh
        #[arg(long)]
        check: bool,
    },
}

/// The root of the checkout: this crate lies directly below it.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_path_buf()
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Check { steps } => check::run(&root(), &steps),
        Command::Fuzz(options) => fuzz::run(&root(), &options),
        Command::Upstream(options) => upstream::run(&root(), &options),
        Command::Generate { check } => generate::run(&root(), check),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The cargo that runs this tool; not the one that built it, which may be another by now.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
