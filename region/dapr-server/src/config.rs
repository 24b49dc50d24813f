//! Everything a Dapr Server is told at its start, in one value, whichever form it was started in.
//!
//! One idea: flags, environment and files are read here, once; no other file of this crate looks at them. Secrets are
//! [`SecretString`] and never printed. Start reading at [`Settings`].

mod flags;
mod platform;
mod quantity;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

pub use flags::{Command, parse, usage};
pub use platform::{Bounds, PlatformConfig};

/// Dapr's version whose behaviour this program has: what its clients ask for.
pub const DAPR_VERSION: &str = "1.18.1";

/// How a Dapr Server is to behave.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The App ID that it serves.
    pub app_id: String,
    /// Dapr's namespace; in platform mode the project id.
    pub namespace: String,
    /// Where it listens.
    pub listen: Listen,
    /// The application, if it can be called.
    pub app: AppSettings,
    /// Calls to the application at the start that are left out, such as `subscribe`.
    pub unasked_endpoints: Vec<String>,
    /// Folders with resource files.
    pub resources_paths: Vec<PathBuf>,
    /// Configuration files, later ones override.
    pub config_files: Vec<PathBuf>,
    /// `--allowed-origins`: empty = no CORS handling at all.
    pub allowed_origins: String,
    /// Greatest request body in bytes; `usize::MAX` = unlimited.
    pub max_body: usize,
    /// Greatest request head in bytes.
    pub read_buffer: usize,
    /// How long requests under way may take to finish at a stop.
    pub graceful_shutdown: Duration,
    /// How long to go on serving after the stop signal.
    pub block_shutdown: Option<Duration>,
    /// Log each API call.
    pub api_logging: Option<bool>,
    /// Mutual TLS between Dapr Servers, with whom to ask for the identity.
    pub mtls: Option<MtlsSettings>,
    /// Callers must present this token.
    pub api_token: Option<SecretString>,
    /// This machine's address, as others reach it.
    pub host: IpAddr,
    /// Folder with the sockets of pluggable components.
    pub component_sockets: PathBuf,
    /// Process id given by the Dapr CLI and the like are set later through the API; this is the level to log at.
    pub log_level: String,
    /// Log JSON lines.
    pub log_json: bool,
}

impl Settings {
    /// What all calls together may hold of bodies, in bytes. There is no flag for it, since the original has no such bound:
    /// far more than it would be used with, and unlimited where single bodies are.
    pub fn held_bodies(&self) -> usize {
        self.max_body.saturating_mul(4).max(1 << 30)
    }
}

/// Listeners of the drop-in form.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Addresses of the HTTP, gRPC and profiling ports.
    pub addresses: Vec<String>,
    /// HTTP API.
    pub http_port: u16,
    /// gRPC API.
    pub grpc_port: u16,
    /// Calls of other Dapr Servers; `None` = any free port.
    pub internal_port: Option<u16>,
    /// Address of the internal port.
    pub internal_address: String,
    /// Health and metadata only.
    pub public_port: Option<u16>,
    /// Address of the public port.
    pub public_address: String,
    /// Prometheus metrics; `None` = off.
    pub metrics_port: Option<u16>,
    /// Address of the metrics port.
    pub metrics_address: String,
    /// Profiling; `None` = off.
    pub profile_port: Option<u16>,
    /// Folder for Unix sockets in place of the HTTP and gRPC ports.
    pub unix_folder: Option<PathBuf>,
}

/// How to reach the application.
#[derive(Clone, Debug)]
pub struct AppSettings {
    /// Its port; `None` = it is never called.
    pub port: Option<u16>,
    /// What it speaks.
    pub protocol: AppProtocol,
    /// Host name or address.
    pub address: String,
    /// Calls at a time; `None` = unlimited.
    pub max_concurrency: Option<usize>,
    /// Health probes; `None` = taken for healthy.
    pub health: Option<HealthSettings>,
    /// Token that it expects from us.
    pub token: Option<SecretString>,
}

/// What an application speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppProtocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 without TLS.
    H2c,
    /// gRPC without TLS.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
}

impl AppProtocol {
    /// The name on the command line and in metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::H2c, Self::Grpc, Self::Grpcs]
            .into_iter()
            .find(|one| one.name() == name)
    }
}

/// How the application's health is found out.
#[derive(Clone, Debug)]
pub struct HealthSettings {
    /// Path of the probe.
    pub path: String,
    /// Time between two probes.
    pub interval: Duration,
    /// Time for one probe.
    pub timeout: Duration,
    /// Failed probes in a row that make it unhealthy.
    pub threshold: u32,
}

/// Where the identity for mutual TLS comes from in the drop-in form.
#[derive(Clone, Debug)]
pub struct MtlsSettings {
    /// `host:port` of Sentry.
    pub sentry_address: String,
    /// PEM text of the roots that Sentry must be under.
    pub trust_anchors: String,
    /// Trust domain of the control plane.
    pub control_plane_trust_domain: String,
    /// Namespace of the control plane.
    pub control_plane_namespace: String,
    /// File with a token for Sentry.
    pub token_file: Option<PathBuf>,
}
