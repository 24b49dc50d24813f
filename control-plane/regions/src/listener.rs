//! The listener of the region stream: TLS 1.3, a certificate that chains to the pinned root, client certificates
//! optional (joining has none), every bound set.
//!
//! One idea: who may speak is settled in the handshake, and how much at a time is settled here, before a message is
//! decoded. Must never demand a client certificate (joining has none), nor accept one of another trust domain or of a
//! platform role.

use std::time::Duration;

use palladium_proto::region::region_join_server::RegionJoinServer;
use palladium_proto::region::region_stream_server::RegionStreamServer;
use palladium_spiffe::{SpiffeId, TrustDomain, platform};
use palladium_tasks::Shutdown;
use palladium_tls::{
    ALPN_H2, Acceptor, Limits, SvidSource, TrustBundles, incoming, mtls_optional_client_server_config_with_roots,
};
use tokio::net::TcpListener;
use tonic::transport::Server;

use crate::Error;
use crate::join::JoinService;
use crate::stream::StreamService;

const HANDSHAKE: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(3);
const MAX_JOIN: usize = 64 * 1024;
/// The largest thing that a region sends is an object's status.
const MAX_REPORT: usize = 256 * 1024;
const HANDSHAKES: usize = 128;

/// Serves until `shutdown`.
pub(crate) async fn serve(
    listener: TcpListener,
    svid: &SvidSource,
    bundles: &TrustBundles,
    domain: TrustDomain,
    join: JoinService,
    stream: StreamService,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let region = move |peer: &SpiffeId| {
        *peer.trust_domain() == domain
            && peer
                .namespace_and_name()
                .is_some_and(|(namespace, _)| namespace == platform::REGION_NAMESPACE)
    };
    let tls = mtls_optional_client_server_config_with_roots(svid, bundles, std::sync::Arc::new(region), ALPN_H2);
    let acceptor = Acceptor::mtls(tls, bundles.clone(), HANDSHAKE);
    let connections = incoming(
        listener,
        acceptor,
        Limits {
            handshakes: HANDSHAKES,
            ..Limits::default()
        },
    );
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .http2_max_header_list_size(16 * 1024)
        .max_concurrent_streams(8)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(2 << 20)
        .add_service(RegionJoinServer::new(join).max_decoding_message_size(MAX_JOIN))
        .add_service(
            RegionStreamServer::new(stream)
                .max_decoding_message_size(MAX_REPORT)
                .max_encoding_message_size(palladium_stream::MAX_MESSAGE),
        )
        .serve_with_incoming_shutdown(connections, shutdown.wait());
    let overdue = async {
        shutdown.wait().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = server => Ok(served?),
        () = overdue => Ok(()),
    }
}
