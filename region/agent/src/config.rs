//! The agent's configuration, read once.
//!
//! Must never hold a secret: the join token lies in a file of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use palladium_launch::IdentityConfig;
use palladium_sealing::KekConfig;
use palladium_telemetry::LogConfig;
use serde::{Deserialize, Serialize};

/// Everything an agent needs to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `reg-…`; the region's trust domain is `<region id>.palladium.internal`.
    pub region_id: String,
    /// Its identity in the region.
    pub identity: IdentityConfig,
    /// Where it serves Operator and Workload over mutual TLS.
    pub listen: SocketAddr,
    /// Metrics of App IDs for Prometheus; not served when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsConfig>,
    /// Its own folder: desired state, secrets (wrapped), audit log, ready file.
    pub data_folder: PathBuf,
    /// What wraps its keys and secrets.
    pub kek: KekConfig,
    /// YAML file of the region's owner; written with the defaults when it is missing.
    pub guard_rails_file: PathBuf,
    /// Holds the join token (`plj_…`) until it is redeemed, then it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join_token_file: Option<PathBuf>,
    /// Where to reach the control plane's region stream, in place of the address in the join token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_address: Option<String>,
    /// Sentry's root-of-trust folder; the agent's attestor (`/ns/prj-*`) is published there.
    pub trust_folder: PathBuf,
    /// Parent of the App IDs' own folders, `<apps_folder>/<project id>/<app id>`, and of their Dapr Servers' configuration,
    /// `<apps_folder>/<project id>/<app id>.json`.
    pub apps_folder: PathBuf,
    /// Ports for Dapr Servers, two each, on 127.0.0.1.
    pub app_ports: PortRange,
    /// The supervisor's Unix socket.
    pub supervisor_socket: PathBuf,
    /// The store's mutual-TLS listener; absent = no managed services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_address: Option<SocketAddr>,
    /// What applications dial without wildcard DNS, such as `https://localhost:8443`.
    pub gateway_url: String,
    /// Wildcard domain of the gateway: projects get `http-prj….<domain>` and `grpc-prj….<domain>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_domain: Option<String>,
    /// How long the old App ID token holds after a rotation, seconds.
    #[serde(default = "hour")]
    pub token_overlap_seconds: u32,
    /// Private memory of one Dapr Server, bytes; 0 = the supervisor's bound of 2 GiB, never none.
    #[serde(default)]
    pub app_memory_limit_bytes: u64,
    /// Limit of open files of one Dapr Server; 0 = as many as the supervisor may open.
    #[serde(default)]
    pub app_open_files_limit: u32,
    /// What to log; Dapr Servers log the same.
    #[serde(default)]
    pub log: LogConfig,
}

/// Where Prometheus reads metrics, and what it must show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// In plaintext: a loopback address.
    pub listen: SocketAddr,
    /// SHA-256, in hexadecimal digits, of the token of whoever may read. The token has at least 256 random bits.
    pub token_sha256: String,
}

/// A range of ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRange {
    /// First.
    pub from: u16,
    /// Last.
    pub to: u16,
}

fn hour() -> u32 {
    3600
}
