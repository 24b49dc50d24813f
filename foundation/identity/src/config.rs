//! What a role's configuration says about its identity. Not secret: the attestation itself arrives on standard input.
//!
//! Must never hold a token or a key: it is written to a file.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Part of every role's configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// The SPIFFE ID that this process is to have, such as `spiffe://reg-….palladium.internal/ns/palladium/gateway`.
    pub spiffe_id: String,
    /// Where the zone's Sentry serves `CA/SignCertificate`.
    pub sentry_address: SocketAddr,
    /// The SPIFFE ID that Sentry's certificate must say.
    pub sentry_id: String,
    /// PEM file with the trust domain's roots; re-read when it changes. May appear only after Sentry's first start.
    pub roots_file: PathBuf,
    /// Where the zone's Sentry serves edge certificates; only for roles with a public listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge_address: Option<SocketAddr>,
}

/// A certificate for names that the owner of a public listener supplies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM, leaf first.
    pub chain_file: PathBuf,
    /// PEM, PKCS#8 or SEC 1, readable by nobody else.
    pub key_file: PathBuf,
}
