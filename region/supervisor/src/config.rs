//! The supervisor's configuration: which roles, in which order, and where everything lies.
//!
//! Must never hold a key or an attestation: what a child must know in secret is made at its start, for its standard input.

use std::path::PathBuf;

use palladium_sealing::KekConfig;
use palladium_spiffe::SpiffeId;
use palladium_telemetry::LogConfig;
use serde::{Deserialize, Serialize};

/// Everything a supervisor needs to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its own folder: ledger, lock, key (wrapped), socket, ready file.
    pub data_folder: PathBuf,
    /// Where children log: `<name>.log`, with one older file of the same size beside it.
    pub log_folder: PathBuf,
    /// What wraps its attestor key.
    pub kek: KekConfig,
    /// The zones whose platform roles it starts.
    pub attestations: Vec<Attestation>,
    /// The executable of the roles, absolute.
    pub executable: PathBuf,
    /// The executable of Dapr Servers, absolute.
    pub dapr_server: PathBuf,
    /// The only folder in which a Dapr Server's configuration file may lie.
    pub apps_folder: PathBuf,
    /// The roles in the order of their start; they are stopped in the opposite order.
    pub roles: Vec<Role>,
    /// What to log.
    #[serde(default)]
    pub log: LogConfig,
}

/// A zone for which the supervisor vouches, for `/ns/palladium/*` only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// The zone's Sentry: the audience.
    pub sentry_id: SpiffeId,
    /// The root-of-trust folder of that Sentry.
    pub trust_folder: PathBuf,
}

/// One process that always runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Unique, without a slash; `agent` is the one that may use the socket.
    pub name: String,
    /// What follows `palladium run`.
    pub role: String,
    /// Its configuration file.
    pub config_file: PathBuf,
    /// Its own folder, where its ready file appears.
    pub data_folder: PathBuf,
    /// Whom it is attested as; absent for a role that needs no attestation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<SpiffeId>,
    /// Roles that must serve before this one is started, for at most fifteen seconds.
    #[serde(default)]
    pub after: Vec<String>,
    /// Private memory, bytes; unlimited when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Open files; what the system allows when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files_limit: Option<u64>,
}

impl Config {
    /// The file with every process that was started.
    pub fn ledger_file(&self) -> PathBuf {
        self.data_folder.join("ledger.json")
    }

    /// Held as long as the supervisor lives.
    pub fn lock_file(&self) -> PathBuf {
        self.data_folder.join("lock")
    }

    /// Where the agent connects.
    pub fn socket(&self) -> PathBuf {
        self.data_folder.join("supervisor.sock")
    }
}
