//! The registry of roles: one line each. A role is one crate with one `run` and one `Config`.
//!
//! What all have in common happens here: strict configuration, `--print-config`, logging, no core dumps, one runtime, stop on
//! signals, an exit code that the parent understands. Must never know what a role does.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use palladium_launch::exit;
use palladium_tasks::{Shutdown, Tasks};
use palladium_telemetry::LogConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// `palladium run …`.
#[derive(Debug, Args)]
pub struct Run {
    /// Which role
    role: Role,
    /// Its configuration file, JSON
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Show the configuration with all defaults and end
    #[arg(long)]
    print_config: bool,
}

/// What a process can be.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Role {
    /// REST API, authorization, audit, the regions' stream
    ControlPlane,
    /// Certificate authority of one zone
    Sentry,
    /// The region's link to the control plane
    Agent,
    /// Where applications connect
    Gateway,
    /// Managed services
    Store,
    /// Parent of all processes of one machine
    Supervisor,
}

impl Run {
    /// Runs the role until it is told to stop.
    pub fn main(self) -> ExitCode {
        match self.role {
            Role::ControlPlane => self.with(
                |c| &c.log,
                palladium_control_server::run,
                palladium_control_server::Error::exit_code,
            ),
            Role::Sentry => self.with(|c| &c.log, palladium_sentry::run, palladium_sentry::Error::exit_code),
            Role::Agent => self.with(|c| &c.log, palladium_agent::run, palladium_agent::Error::exit_code),
            Role::Gateway => self.with(|c| &c.log, palladium_gateway::run, palladium_gateway::Error::exit_code),
            Role::Store => self.with(|c| &c.log, palladium_store::run, palladium_store::Error::exit_code),
            Role::Supervisor => self.with(
                |c| &c.log,
                palladium_supervisor::run,
                palladium_supervisor::Error::exit_code,
            ),
        }
    }

    fn with<C, E, F>(
        &self,
        log: impl Fn(&C) -> &LogConfig,
        run: impl FnOnce(C, Shutdown) -> F,
        code: impl Fn(&E) -> u8,
    ) -> ExitCode
    where
        C: DeserializeOwned + Serialize,
        E: Display,
        F: Future<Output = Result<(), E>>,
    {
        let config: C = match palladium_config::load(&self.config) {
            Ok(config) => config,
            Err(error) => return complain(&error, exit::USAGE),
        };
        if self.print_config {
            return match palladium_config::print(&config) {
                Ok(text) if writeln!(std::io::stdout(), "{text}").is_ok() => ExitCode::SUCCESS,
                Ok(_) => ExitCode::from(exit::SOFTWARE),
                Err(error) => complain(&error, exit::SOFTWARE),
            };
        }
        if let Err(error) = palladium_telemetry::init(log(&config)) {
            return complain(&error, exit::USAGE);
        }
        if let Err(error) = palladium_os::harden() {
            return complain(&error, exit::SOFTWARE);
        }
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return complain(&error, exit::UNAVAILABLE),
        };
        let outcome = runtime.block_on(async {
            let shutdown = Shutdown::on_signals().map_err(Failure::Signals)?;
            let mut tasks = Tasks::new();
            tasks.spawn("start-up-pages", palladium_os::give_back_after_start());
            run(config, shutdown).await.map_err(Failure::Role)
        });
        // What still blocks (a read of standard input) must not hold the process up.
        runtime.shutdown_background();
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Signals(error)) => complain(&error, exit::UNAVAILABLE),
            Err(Failure::Role(error)) => {
                let code = code(&error);
                if code == exit::ATTEST_AGAIN {
                    tracing::warn!(%error, "a fresh attestation is needed");
                } else {
                    tracing::error!(%error, "the role ends");
                }
                ExitCode::from(code)
            }
        }
    }
}

enum Failure<E> {
    Signals(std::io::Error),
    Role(E),
}

/// For errors before there is a log.
fn complain(error: &dyn Display, code: u8) -> ExitCode {
    // If even standard error is closed, nobody can be told.
    let _ = writeln!(std::io::stderr(), "palladium: {error}");
    ExitCode::from(code)
}
