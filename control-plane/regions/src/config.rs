//! Configuration of the region listener, part of the control plane's.
//!
//! Must never hold a key: it names the folders in which they lie.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where and for whom the region stream is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens (7444).
    pub listen: SocketAddr,
    /// What regions dial, `https://host:port`; goes into join tokens.
    pub public_url: String,
    /// Id of the organization, `org-…`; its trust domain is the control plane's.
    pub organization_id: String,
    /// Folder for the log's signing key and the attestor's key, both wrapped; outside of the database's backups.
    pub key_folder: PathBuf,
    /// Where the control zone's Sentry serves `CA/SignCertificate`.
    pub sentry_address: SocketAddr,
    /// Root-of-trust folder of that Sentry: the attestor for `/ns/region/*` is published there.
    pub trust_folder: PathBuf,
    /// Life of a join token, seconds.
    #[serde(default = "day")]
    pub join_token_seconds: u32,
    /// Log entries kept per region for one that is away; beyond it the region gets a snapshot.
    #[serde(default = "kept")]
    pub log_entries_kept: u32,
}

fn day() -> u32 {
    24 * 3600
}

fn kept() -> u32 {
    10_000
}
