//! The connections to services outside.
//!
//! One idea: HTTP/1.1 or HTTP/2, whichever the service chooses in the handshake, on connections that are kept for a while
//! and watched while they wait. Where tenants call, a name must not lead back into this machine or to what a cloud tells its
//! machines about themselves, whatever it was resolved to when somebody looked at it. Must never wait for a connection
//! without end, nor follow an answer elsewhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use palladium_tls::{ALPN_HTTP, PublicCert, WebRoots, web_client_config};
use tokio::time::timeout;
use tower_service::Service;

use crate::http::{Body, BoxError};

/// Name, connection and handshake.
const CONNECT: Duration = Duration::from_secs(15);
/// How long a connection is kept without a call, and how many of them to one address.
const IDLE: (Duration, usize) = (Duration::from_secs(60), 32);
/// How often a service that says nothing is asked whether it is there, and how long it may take to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of one call that may wait to be written.
const SEND_BUFFER: usize = 256 << 10;

type Tcp = HttpConnector<Careful>;

/// The client of one endpoint.
pub(super) type Client = legacy::Client<InTime<HttpsConnector<Tcp>>, Body>;

/// Who vouches for the name of a service.
#[derive(Clone, Debug)]
pub(super) enum Roots {
    System,
    Pem(Arc<str>),
    /// It is called without TLS.
    Nobody,
}

/// Makes a client; nothing is dialled before the first call.
pub(super) async fn client(roots: Roots, own: Option<PublicCert>, hosted: bool) -> Result<Client, String> {
    // Certificates of the operating system are files.
    let configure = move || {
        let roots = match &roots {
            Roots::System => WebRoots::System,
            Roots::Pem(pem) => WebRoots::Pem(pem.as_bytes()),
            Roots::Nobody => WebRoots::Nobody,
        };
        web_client_config(roots, own.as_ref(), ALPN_HTTP)
    };
    let config = tokio::task::spawn_blocking(configure).await;
    let config = config
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    let mut tcp = HttpConnector::new_with_resolver(Careful {
        inner: GaiResolver::new(),
        hosted,
    });
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(KEEP_ALIVE.0));
    Ok(legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE.0)
        .pool_max_idle_per_host(IDLE.1)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_send_buf_size(SEND_BUFFER)
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .http2_keep_alive_timeout(KEEP_ALIVE.1)
        .build(InTime(HttpsConnector::from((tcp, config)))))
}

/// A connector with a deadline for all of it.
#[derive(Clone)]
pub(super) struct InTime<C>(C);

impl<C> Service<Uri> for InTime<C>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialled = self.0.call(uri);
        Box::pin(async move {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {CONNECT:?}"));
            timeout(CONNECT, dialled).await.map_err(late)?.map_err(Into::into)
        })
    }
}

/// Resolves names; where tenants call, only to addresses that lead out of this machine.
#[derive(Clone)]
pub(super) struct Careful {
    inner: GaiResolver,
    hosted: bool,
}

impl Service<Name> for Careful {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        // That name can mean nothing else, and whoever declared it was asked about it.
        let free = !self.hosted || name.as_str().eq_ignore_ascii_case("localhost");
        let looked_up = self.inner.call(name);
        Box::pin(async move {
            let found: Vec<SocketAddr> = looked_up
                .await?
                .filter(|address| free || leads_out(address.ip()))
                .collect();
            if found.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::AddrNotAvailable,
                    "the name has no address that may be called",
                ));
            }
            Ok(found.into_iter())
        })
    }
}

/// What clouds tell their machines about themselves, as far as it is not link-local.
const ABOUT_MACHINES: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Whether an address is one that only a machine itself may call.
pub(super) fn is_off_limits(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    local || ip.is_unspecified() || ip.is_multicast() || ABOUT_MACHINES.contains(&ip)
}

/// Whether an address is neither such a one nor this machine.
pub(super) fn leads_out(ip: IpAddr) -> bool {
    !(is_off_limits(ip) || ip.to_canonical().is_loopback())
}
