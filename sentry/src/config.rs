//! The configuration of a Sentry in platform form.
//!
//! Must never hold a key: they lie in Sentry's own folder, wrapped.

use std::{net::SocketAddr, path::PathBuf};

use palladium_sealing::KekConfig;
use palladium_spiffe::{PathPattern, SpiffeId, TrustDomain, platform};
use palladium_telemetry::LogConfig;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Which zone it serves, and with it which of the platform's own roles it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Zone {
    /// Agent, gateway and store, and the App IDs of the identity table.
    Region,
    /// The control plane's server, and the regions.
    Control,
}

/// Everything a Sentry needs to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The trust domain it issues for.
    pub trust_domain: TrustDomain,
    /// The zone it serves.
    pub zone: Zone,
    /// Where it serves `CA/SignCertificate`.
    pub listen: SocketAddr,
    /// Its own folder: keys (wrapped), journal, identity table, ready file; the public roots in `ca.crt` and
    /// `edge-ca.crt`.
    pub data_folder: PathBuf,
    /// The root-of-trust folder with the attestors' public keys (`*.json`).
    pub attestors_folder: PathBuf,
    /// What wraps the keys.
    pub kek: KekConfig,
    /// Where the identity table comes from. Without it, only the platform's own roles are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentConfig>,
    /// The authority for public listeners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<EdgeConfig>,
    /// Life of a workload's certificate, seconds.
    #[serde(default = "leaf_ttl")]
    pub leaf_ttl_seconds: u32,
    /// Life of the issuer, seconds; renewed at half of it.
    #[serde(default = "week")]
    pub issuer_ttl_seconds: u32,
    /// Life of the roots, seconds.
    #[serde(default = "ten_years")]
    pub root_ttl_seconds: u32,
    /// What to log.
    #[serde(default)]
    pub log: LogConfig,
}

/// The agent whose `Workload.WatchIdentities` is followed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// Its mutual-TLS listener.
    pub address: SocketAddr,
    /// What its certificate must say.
    pub spiffe_id: SpiffeId,
}

/// The authority for certificates of public listeners.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeConfig {
    /// Where it serves `CA/SignCertificate`, to the zone's role with a public listener only.
    pub listen: SocketAddr,
    /// Domains that may be certified beside `localhost` and loopback addresses, with all names below them. Part of the
    /// edge root, so they are fixed at the first start.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Life of an edge certificate, seconds.
    #[serde(default = "day")]
    pub ttl_seconds: u32,
}

/// Life of a workload's certificate where nothing else is configured, seconds.
pub const LEAF_TTL_SECONDS: u32 = 3600;

fn leaf_ttl() -> u32 {
    LEAF_TTL_SECONDS
}

fn day() -> u32 {
    24 * 3600
}

fn week() -> u32 {
    7 * 24 * 3600
}

fn ten_years() -> u32 {
    10 * 365 * 24 * 3600
}

impl Config {
    /// The ID of this Sentry: `/ns/palladium/dapr-sentry`.
    ///
    /// # Errors
    /// Never in practice: the trust domain is valid.
    pub fn own_id(&self) -> Result<SpiffeId, Error> {
        SpiffeId::new(&self.trust_domain, platform::SENTRY).map_err(|error| Error::Config(error.to_string()))
    }

    /// The paths that are known without an identity table.
    pub(crate) fn platform_paths(&self) -> Result<Vec<PathPattern>, Error> {
        let paths: &[&str] = match self.zone {
            Zone::Region => &[platform::AGENT, platform::GATEWAY, platform::STORE],
            Zone::Control => &[platform::CONTROL_PLANE, "/ns/region/*"],
        };
        paths
            .iter()
            .map(|path| PathPattern::parse(path).map_err(|error| Error::Config(format!("{path}: {error}"))))
            .collect()
    }

    /// Who may ask for edge certificates.
    pub(crate) fn edge_caller(&self) -> Result<SpiffeId, Error> {
        let path = match self.zone {
            Zone::Region => platform::GATEWAY,
            Zone::Control => platform::CONTROL_PLANE,
        };
        SpiffeId::new(&self.trust_domain, path).map_err(|error| Error::Config(error.to_string()))
    }

    /// Refuses what cannot work.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.leaf_ttl_seconds < 2 || self.leaf_ttl_seconds > self.issuer_ttl_seconds {
            return Err(Error::Config(
                "leaf_ttl_seconds must be at least 2 and at most issuer_ttl_seconds".to_owned(),
            ));
        }
        let domains = self.edge.iter().flat_map(|edge| &edge.domains);
        for domain in domains {
            let label = |label: &str| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            };
            if !domain.split('.').all(label) {
                return Err(Error::Config(format!(
                    "edge domain {domain:?} is not a lower-case host name"
                )));
            }
        }
        if self.issuer_ttl_seconds > self.root_ttl_seconds {
            return Err(Error::Config(
                "issuer_ttl_seconds must be at most root_ttl_seconds".to_owned(),
            ));
        }
        Ok(())
    }
}
