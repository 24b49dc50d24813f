//! The configuration file of a Dapr Server in platform mode: written by the agent, read by `palladium-dapr-server run`.
//!
//! It says where things are, never what the App ID may do: components, tokens and peers come over mutual TLS.

use std::net::SocketAddr;
use std::path::PathBuf;

use palladium_telemetry::LogConfig;
use serde::{Deserialize, Serialize};

use crate::IdentityConfig;

/// Everything a Dapr Server must know before it has an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaprServerConfig {
    /// The App ID that it serves.
    pub app_id: String,
    /// The project, which is Dapr's namespace here: `prj-` and 12 characters.
    pub project_id: String,
    /// Its identity and where to get it.
    pub identity: IdentityConfig,
    /// The agent's mutual-TLS listener with the Operator and Workload APIs.
    pub agent_address: SocketAddr,
    /// The SPIFFE ID that the agent's certificate must say. Who proves to be that gets metrics on the gateway listener, and
    /// nothing else.
    pub agent_id: String,
    /// The only SPIFFE ID that may use the API on the gateway listener.
    pub gateway_id: String,
    /// Where it listens for the gateway: HTTP/1.1, HTTP/2 and gRPC over mutual TLS.
    pub gateway_listen: SocketAddr,
    /// Where it listens for other Dapr Servers of the project: gRPC over mutual TLS.
    pub internal_listen: SocketAddr,
    /// Its own folder, the only place where it may write.
    pub data_folder: PathBuf,
    /// What to log.
    #[serde(default)]
    pub log: LogConfig,
}
