//! TLS set-up. The only place where a rustls configuration is made.
//!
//! The one idea: **inside, a peer is its SPIFFE ID.** A connection between two processes of the platform is mutual TLS 1.3;
//! the chain is checked against the roots of the trust domain in the peer's certificate and no others, then the
//! leaf's SPIFFE rules, then the listener's own authorizer, all inside the handshake: whoever is refused never has a
//! byte parsed by HTTP. Nothing is resumed, so a revoked peer cannot come back by ticket, and a live connection of
//! a revoked peer is closed. At the edge it is ordinary TLS with a certificate for names.
//!
//! Never: a key log, early data, a second crypto provider, trust pooled over domains in platform mode.

mod bundle;
mod channel;
mod error;
mod incoming;
mod io;
mod leaf;
mod mtls;
mod public;
mod root_pin;
mod svid;
mod verify;

use std::sync::{Arc, OnceLock};

use palladium_spiffe::SpiffeId;
use rustls::crypto::CryptoProvider;
/// The configurations that this crate builds and others hold.
pub use rustls::{ClientConfig, CommonState, ServerConfig};

pub use bundle::{Bundle, Changes, TrustBundles, certificates as pem_certificates};
pub use channel::channel;
pub use error::TlsError;
pub use incoming::{Limits, incoming};
pub use io::{Acceptor, Connector, Peer, PeerInfo, TlsIo};
pub use leaf::{Leaf, Rules, is_read};
pub use mtls::{
    mtls_client_config, mtls_optional_client_server_config, mtls_optional_client_server_config_with_roots,
    mtls_server_config, svid_client_without_certificate, svid_server_config,
};
pub use public::{
    PublicCert, PublicCertSource, WebRoots, pem_roots_client_config, public_server_config, web_client_config,
};
pub use root_pin::root_pin_client_config;
pub use svid::{Svid, SvidSource};
pub use verify::{Side, verify_svid};

/// Decides in the handshake whether a peer, already proven to hold this ID, may connect at all.
pub type Authorizer = Arc<dyn Fn(&SpiffeId) -> bool + Send + Sync>;

/// Application protocols of a gRPC-only connection.
pub const ALPN_H2: &[&[u8]] = &[b"h2"];
/// Application protocols of a listener that speaks HTTP/2 and HTTP/1.1.
pub const ALPN_HTTP: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Makes aws-lc-rs the process's only TLS provider. The first thing in every `main`; a second call does nothing.
pub fn install_crypto_provider() {
    // An error means that it was installed before, by an earlier call in the same process (tests do that).
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// An authorizer for exactly one ID.
pub fn exactly(id: &SpiffeId) -> Authorizer {
    let id = id.clone();
    Arc::new(move |peer| *peer == id)
}

/// The provider that every configuration here is built with: hybrid X25519MLKEM768 is its first key exchange.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .clone()
}

fn alpn_list(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.to_vec()).collect()
}

#[cfg(test)]
mod tests;
