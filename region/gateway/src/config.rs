//! The configuration of a gateway, read once.
//!
//! Must never hold a secret: tokens come as digests from the agent, the key of a supplied certificate lies in its own file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use palladium_identity::{CertificateFiles, IdentityConfig};
use palladium_telemetry::LogConfig;
use serde::{Deserialize, Serialize};

/// Everything a gateway needs to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its identity; `edge_address` must be set unless `certificate` is.
    pub identity: IdentityConfig,
    /// The agent's mutual-TLS listener with the Workload API.
    pub agent_address: SocketAddr,
    /// The SPIFFE ID that the agent's certificate must say.
    pub agent_id: String,
    /// Where applications connect: HTTP/1.1, HTTP/2 and gRPC over TLS.
    pub listen: SocketAddr,
    /// DNS names and IP addresses of the edge certificate.
    #[serde(default = "local_names")]
    pub names: Vec<String>,
    /// A supplied certificate in place of one from the zone's edge authority; re-read when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateFiles>,
    /// Its own folder: the last route table, the ready file.
    pub data_folder: PathBuf,
    /// Worker threads; as many as processors when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<usize>,
    /// What is tolerated.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Which requests are logged one by one.
    #[serde(default)]
    pub access_log: AccessLog,
    /// Where it serves Prometheus metrics in plaintext, on loopback; nowhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<SocketAddr>,
    /// What to log.
    #[serde(default)]
    pub log: LogConfig,
}

/// Which requests get a line in the log. Metrics count all of them in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessLog {
    /// Every request; only those without a good token are rationed.
    All,
    /// Those that the gateway refused, that ended early or with a status of 500 and above; so many a second.
    #[default]
    Failures,
    /// None.
    Off,
}

/// Bounds and deadlines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Request body in bytes where the route names none; for gRPC each single message. Dapr's own default.
    pub max_body_bytes: u64,
    /// Open connections of applications.
    pub connections: usize,
    /// Bytes of one request head.
    pub header_bytes: usize,
    /// Header lines of one HTTP/1.1 request.
    pub headers: usize,
    /// From the first to the last byte of an HTTP/1.1 request head.
    pub head_ms: u64,
    /// A client that takes nothing of an answer for this long, or sends no request after connecting, is cut off; an
    /// HTTP request body (not gRPC, whose streams may be silent) must also make progress of 1 KiB in each such span.
    pub stall_ms: u64,
    /// A connection without a byte in either direction for this long is asked to end.
    pub idle_ms: u64,
    /// How long a request may wait for a Dapr Server that restarts.
    pub hold_ms: u64,
    /// Requests of one worker that may wait so at once; more get 503 at once.
    pub held: usize,
    /// How long a Dapr Server may take to begin an HTTP answer. gRPC calls bring their own deadlines.
    pub response_ms: u64,
    /// At shutdown: how long requests have to finish.
    pub drain_ms: u64,
    /// A gateway that is cut off from its agent for more seconds than this refuses all calls with 503, because tokens may
    /// have been revoked meanwhile; 0 = it goes on with its last route table for as long as that takes.
    pub table_age_s: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 4 * 1024 * 1024,
            connections: 10_000,
            header_bytes: 32 * 1024,
            headers: 100,
            head_ms: 10_000,
            stall_ms: 30_000,
            idle_ms: 180_000,
            hold_ms: 2_000,
            held: 1_024,
            response_ms: 300_000,
            drain_ms: 8_000,
            table_age_s: 0,
        }
    }
}

impl LimitsConfig {
    /// Those of the listener of one of `workers` workers.
    pub(crate) fn listener(&self, workers: usize) -> palladium_http::Limits {
        palladium_http::Limits {
            connections: self.connections.div_ceil(workers),
            header_bytes: self.header_bytes,
            headers: self.headers,
            head: Duration::from_millis(self.head_ms),
            stall: Duration::from_millis(self.stall_ms),
            idle: Duration::from_millis(self.idle_ms),
            drain: Duration::from_millis(self.drain_ms),
            ..palladium_http::Limits::default()
        }
    }
}

impl Config {
    /// How many worker threads to start.
    pub(crate) fn worker_count(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.workers.unwrap_or_else(processors).max(1)
    }
}

fn local_names() -> Vec<String> {
    vec!["localhost".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = r#"{
        "identity": {
            "spiffe_id": "spiffe://reg-a.palladium.internal/ns/palladium/gateway",
            "sentry_address": "127.0.0.1:17500",
            "sentry_id": "spiffe://reg-a.palladium.internal/ns/palladium/dapr-sentry",
            "roots_file": "/var/lib/palladium/region/sentry/ca.crt",
            "edge_address": "127.0.0.1:17501"
        },
        "agent_address": "127.0.0.1:17502",
        "agent_id": "spiffe://reg-a.palladium.internal/ns/palladium/agent",
        "listen": "127.0.0.1:8443",
        "data_folder": "/var/lib/palladium/region/gateway"
    }"#;

    fn load(text: &str) -> Result<Config, palladium_config::Error> {
        let folder = tempfile::tempdir().expect("temp folder");
        let file = folder.path().join("gateway.json");
        std::fs::write(&file, text).expect("writable");
        palladium_config::load(&file)
    }

    #[test]
    fn everything_but_addresses_and_names_has_a_default() {
        let config = load(SMALLEST).expect("smallest configuration");
        assert_eq!(config.limits, LimitsConfig::default());
        let shown = palladium_config::print(&config).expect("JSON");
        assert_eq!(load(&shown).expect("own form"), config);
    }

    #[test]
    fn a_typo_is_named() {
        let text = SMALLEST.replacen("\"listen\"", "\"limits\": {\"hold\": 1}, \"listen\"", 1);
        assert!(load(&text).expect_err("typo").to_string().contains("limits.hold"));
    }
}
