//! The configuration of the control plane, read once. Nothing in it is secret.
//!
//! Must never read the environment: the file is all there is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use palladium_identity::{CertificateFiles, IdentityConfig};
use palladium_sealing::KekConfig;
use palladium_telemetry::LogConfig;
use serde::{Deserialize, Serialize};

/// Everything that the control plane needs to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its identity in the control zone; `edge_address` must be set unless `certificate` is.
    pub identity: IdentityConfig,
    /// Where people and tools connect (7443).
    pub listen: SocketAddr,
    /// What they dial, `https://host:port`; told to clients by `cli.envs.json`.
    pub public_url: String,
    /// DNS names and IP addresses of the edge certificate.
    #[serde(default = "local_names")]
    pub names: Vec<String>,
    /// A supplied certificate in place of one from the zone's edge authority; re-read when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateFiles>,
    /// Its own folder: database, ready file.
    pub data_folder: PathBuf,
    /// The key that wraps the keys on disk.
    pub key_encryption_key: KekConfig,
    /// The region stream.
    pub regions: palladium_regions::Config,
    /// What the first start makes.
    pub bootstrap: BootstrapConfig,
    /// What is tolerated.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What to log.
    #[serde(default)]
    pub log: LogConfig,
}

/// What the first start makes, once. The ids are given because certificates carry them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapConfig {
    /// Name of the organization; its id stands in `regions.organization_id`.
    #[serde(default = "organization_name")]
    pub organization_name: String,
    /// `reg-…` of the first region.
    pub region_id: String,
    /// Name of the first region.
    #[serde(default = "region_name")]
    pub region_name: String,
    /// Wildcard URL of that region's gateway; empty without wildcard DNS.
    #[serde(default)]
    pub region_ingress: String,
    /// Where the first region's join token is written (0600).
    pub join_token_file: PathBuf,
    /// Where the first API key, an administrator's, is written (0600).
    pub admin_key_file: PathBuf,
}

/// Bounds and deadlines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Largest request body, bytes.
    pub body_bytes: usize,
    /// From the first byte of a request to its answer.
    pub request_ms: u64,
    /// Open connections.
    pub connections: usize,
    /// At shutdown: how long requests have to finish.
    pub drain_ms: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            request_ms: 30_000,
            connections: 1_000,
            drain_ms: 5_000,
        }
    }
}

impl LimitsConfig {
    /// Those of the listener.
    pub(crate) fn listener(&self) -> palladium_http::Limits {
        let drain = Duration::from_millis(self.drain_ms);
        palladium_http::Limits {
            connections: self.connections,
            drain,
            ..palladium_http::Limits::default()
        }
    }
}

fn local_names() -> Vec<String> {
    vec!["localhost".to_owned()]
}

fn organization_name() -> String {
    "default".to_owned()
}

fn region_name() -> String {
    "local".to_owned()
}
