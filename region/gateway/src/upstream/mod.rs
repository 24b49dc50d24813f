//! The way to Dapr Servers: who they must be, and connections that are kept.
//!
//! One idea: an [`Upstream`] is a SPIFFE ID at an address, and every pool belongs to exactly one: no connection is ever
//! used for anybody else. The certificate is checked in the handshake, before a byte of a request leaves. Must never
//! dial an address without the exact SPIFFE ID that must answer there, nor give a key out twice.

mod lease;
mod pool;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use palladium_spiffe::SpiffeId;
use palladium_tls::{ALPN_H2, Connector, SvidSource, TrustBundles, exactly, mtls_client_config};

pub(crate) use lease::{Lease, Sent};
pub(crate) use pool::{Pool, Pools};

/// How long connecting and the handshake may take.
const CONNECT: Duration = Duration::from_secs(2);

/// A Dapr Server as a destination.
pub(crate) struct Upstream {
    /// Names this pair of SPIFFE ID and address in the process; never reused.
    pub(crate) key: u64,
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) address: SocketAddr,
    http1: Connector,
    http2: Connector,
}

/// Makes upstreams with the gateway's own identity.
pub(crate) struct Dialer {
    svid: SvidSource,
    bundles: TrustBundles,
    next_key: AtomicU64,
}

impl Dialer {
    pub(crate) fn new(svid: SvidSource, bundles: TrustBundles) -> Self {
        Self {
            svid,
            bundles,
            next_key: AtomicU64::new(0),
        }
    }

    pub(crate) fn upstream(&self, spiffe_id: SpiffeId, address: SocketAddr) -> Upstream {
        let connector = |alpn: &[&[u8]]| {
            let config = mtls_client_config(&self.svid, &self.bundles, exactly(&spiffe_id), alpn);
            Connector::mtls(config, self.bundles.clone(), CONNECT)
        };
        let (http1, http2) = (connector(&[b"http/1.1"]), connector(ALPN_H2));
        Upstream {
            key: self.next_key.fetch_add(1, Ordering::Relaxed),
            spiffe_id,
            address,
            http1,
            http2,
        }
    }
}
