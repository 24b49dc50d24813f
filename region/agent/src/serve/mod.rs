//! The agent's listener for the processes of its region: Dapr's Operator API and `Workload`, over mutual TLS.
//!
//! The one idea: [`Caller`] is made from the certificate and nothing else; every method begins with it. The handshake
//! already refuses whoever has no business here. Must never take from a request who is calling.

mod component;
mod configuration;
mod events;
mod operator;
mod resource;
mod watch;
mod workload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use palladium_proto::operator::operator_server::OperatorServer;
use palladium_proto::region::workload_server::WorkloadServer;
use palladium_spiffe::{SpiffeId, platform};
use palladium_tasks::Shutdown;
use palladium_tls::{ALPN_H2, Acceptor, Limits, PeerInfo, SvidSource, TrustBundles, incoming, mtls_server_config};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::{Request, Status};

use crate::Error;
use crate::region::Region;

const HANDSHAKE: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(3);
const MAX_REQUEST: usize = 4 << 20;
const MAX_TABLE: usize = 128 << 20;

/// Serves until `shutdown`.
pub(crate) async fn serve(
    region: Arc<Region>,
    listener: TcpListener,
    svid: &SvidSource,
    bundles: &TrustBundles,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let known = region.clone();
    let authorizer = Arc::new(move |peer: &SpiffeId| Caller::of(&known, peer).is_some());
    let tls = mtls_server_config(svid, bundles, authorizer, ALPN_H2);
    let connections = incoming(
        listener,
        Acceptor::mtls(tls, bundles.clone(), HANDSHAKE),
        Limits::default(),
    );
    let operator = operator::Service {
        region: region.clone(),
        shutdown: shutdown.clone(),
    };
    let workload = workload::Service {
        region,
        shutdown: shutdown.clone(),
    };
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .http2_max_header_list_size(16 * 1024)
        .max_concurrent_streams(64)
        .add_service(
            OperatorServer::new(operator)
                .max_decoding_message_size(64 * 1024)
                .max_encoding_message_size(MAX_TABLE),
        )
        .add_service(
            WorkloadServer::new(workload)
                .max_decoding_message_size(MAX_REQUEST)
                .max_encoding_message_size(MAX_TABLE),
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

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Gateway,
    Sentry,
    Store,
    /// The Dapr Server of an App ID that exists.
    App {
        project_id: String,
        app_id: String,
    },
}

impl Caller {
    /// By SPIFFE ID; `None` for whoever has no business here.
    pub(crate) fn of(region: &Region, id: &SpiffeId) -> Option<Self> {
        for (path, caller) in [
            (platform::GATEWAY, Self::Gateway),
            (platform::SENTRY, Self::Sentry),
            (platform::STORE, Self::Store),
        ] {
            if region.names.is_role(id, path) {
                return Some(caller);
            }
        }
        let (project_id, app_id) = id
            .namespace_and_name()
            .filter(|_| *id.trust_domain() == region.names.domain)?;
        let exists = region.desired().app(project_id, app_id).is_some()
            && !region.tombstones.has("AppIdentity", project_id, app_id);
        exists.then(|| Self::App {
            project_id: project_id.to_owned(),
            app_id: app_id.to_owned(),
        })
    }

    /// By the connection of a request. Looked up again for each one: an App ID may be gone by now.
    pub(crate) fn from<T>(region: &Region, request: &Request<T>) -> Result<(Self, SocketAddr), Status> {
        let info = request.extensions().get::<PeerInfo>();
        let peer = info
            .and_then(|info| info.peer.as_ref())
            .ok_or_else(|| Status::unauthenticated("no certificate"))?;
        let name = peer
            .id
            .namespace_and_name()
            .map(|(namespace, name)| crate::views::server_name(namespace, name));
        let revoked = name.is_some_and(|name| peer.not_before < region.revocations.before(&name));
        let remote = info
            .and_then(|info| info.remote)
            .ok_or_else(|| Status::internal("no remote address"))?;
        match Self::of(region, &peer.id).filter(|_| !revoked) {
            Some(caller) => Ok((caller, remote)),
            None => Err(Status::permission_denied("this identity has no business here")),
        }
    }

    /// The App ID of a Dapr Server; others are refused.
    pub(crate) fn app(self) -> Result<(String, String), Status> {
        match self {
            Self::App { project_id, app_id } => Ok((project_id, app_id)),
            _ => Err(Status::permission_denied("only Dapr Servers may ask this")),
        }
    }

    /// Refuses everybody else.
    pub(crate) fn must_be(self, role: Self) -> Result<(), Status> {
        if self == role {
            Ok(())
        } else {
            Err(Status::permission_denied("another role's table"))
        }
    }
}
