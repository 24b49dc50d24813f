//! How a process logs: structured lines on standard output, text for people or JSON for programs.
//!
//! One idea: set up once, first thing in `main`, from a [`LogConfig`]. Must never be handed a secret: what is logged is
//! what the caller wrote, nothing is redacted here.

mod ration;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

pub use ration::{Ration, SharedRation};

/// What to log and in which form. Part of every role's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,palladium_agent=debug`.
    pub level: String,
    /// One JSON object per line instead of text.
    pub json: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            json: false,
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter does not parse.
    #[error("log level {level:?} is not understood ({reason}); use error, warn, info, debug or trace")]
    Level {
        /// What was given.
        level: String,
        /// What the parser says.
        reason: String,
    },
    /// Logging was set up before in this process.
    #[error("logging is already set up in this process")]
    Twice,
}

/// Sets up the process-wide logger.
///
/// # Errors
/// When the level does not parse, or logging is already set up.
pub fn init(config: &LogConfig) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&config.level).map_err(|error| Error::Level {
        level: config.level.clone(),
        reason: error.to_string(),
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(SystemTime)
        // It would say that the log cannot be written by printing, which panics when standard error is on the same full disk.
        .log_internal_errors(false)
        .with_ansi(false);
    let result = if config.json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.try_init()
    };
    result.map_err(|_| Error::Twice)
}
