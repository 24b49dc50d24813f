//! The configuration of a store, read once.
//!
//! Must never hold a key: it says where the one that wraps the others lies.

use std::net::SocketAddr;
use std::path::PathBuf;

use palladium_launch::IdentityConfig;
use palladium_sealing::KekConfig;
use palladium_telemetry::LogConfig;
use serde::{Deserialize, Serialize};

use crate::rows::BusLimits;

/// Everything a store needs to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its identity.
    pub identity: IdentityConfig,
    /// The agent's mutual-TLS listener with the Workload API.
    pub agent_address: SocketAddr,
    /// The SPIFFE ID that the agent's certificate must say.
    pub agent_id: String,
    /// Where Dapr Servers connect: gRPC over mutual TLS.
    pub listen: SocketAddr,
    /// Its own folder: projects' files, the last table, the ready file.
    pub data_folder: PathBuf,
    /// What wraps the projects' data keys.
    pub kek: KekConfig,
    /// Connections of Dapr Servers at a time.
    #[serde(default = "connections")]
    pub connections: usize,
    /// Bounds of managed publish/subscribe.
    #[serde(default)]
    pub bus: BusLimits,
    /// What to log.
    #[serde(default)]
    pub log: LogConfig,
}

fn connections() -> usize {
    10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_addresses_and_names_has_a_default() {
        let text = r#"{
            "identity": {
                "spiffe_id": "spiffe://reg-a.palladium.internal/ns/palladium/store",
                "sentry_address": "127.0.0.1:17500",
                "sentry_id": "spiffe://reg-a.palladium.internal/ns/palladium/dapr-sentry",
                "roots_file": "/var/lib/palladium/region/sentry/ca.crt"
            },
            "agent_address": "127.0.0.1:17502",
            "agent_id": "spiffe://reg-a.palladium.internal/ns/palladium/agent",
            "listen": "127.0.0.1:17503",
            "data_folder": "/var/lib/palladium/region/store",
            "kek": {"keyFile": {"path": "/var/lib/palladium/region/kek"}}
        }"#;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.json");
        std::fs::write(&file, text).unwrap();
        let config: Config = palladium_config::load(&file).unwrap();
        std::fs::write(&file, palladium_config::print(&config).unwrap()).unwrap();
        assert_eq!(palladium_config::load::<Config>(&file).unwrap(), config);
        std::fs::write(&file, text.replacen("listen", "listens", 1)).unwrap();
        assert!(
            palladium_config::load::<Config>(&file)
                .unwrap_err()
                .to_string()
                .contains("listens")
        );
    }
}
