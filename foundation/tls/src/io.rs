//! A TLS connection that knows its peer and ends when the peer is no longer trusted.
//!
//! One idea: servers and clients get the same [`TlsIo`]; whoever uses it needs no thought of revocation. Handshakes have a
//! deadline. Never hands out a connection before the handshake, and with it the authorizer, is done.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{ClientConfig, CommonState, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, ToSocketAddrs},
    sync::OwnedSemaphorePermit,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tonic::transport::server::Connected;

use crate::{Leaf, Rules, TrustBundles};

/// The proven other side: what its leaf certificate says.
pub type Peer = Leaf;

/// The peer of a connection whose configuration verified it; `None` if it showed no SVID. Only meaningful on
/// connections made with mutual-TLS configurations, and by the rules that it was verified by.
fn peer(connection: &CommonState, rules: Rules) -> Option<Peer> {
    Leaf::read_by(connection.peer_certificates()?.first()?, rules).ok()
}

/// Who is calling; in the extensions of every gRPC request that came through [`crate::incoming`].
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// The caller's proven identity; `None` if it showed none.
    pub peer: Option<Peer>,
    /// Where it called from.
    pub remote: Option<SocketAddr>,
}

/// The server side of handshakes.
#[derive(Clone)]
pub struct Acceptor {
    inner: TlsAcceptor,
    bundles: Option<TrustBundles>,
    handshake_timeout: Duration,
}

impl Acceptor {
    /// For an internal listener: connections end when their peer is revoked in `bundles`.
    pub fn mtls(config: Arc<ServerConfig>, bundles: TrustBundles, handshake_timeout: Duration) -> Self {
        Self {
            inner: config.into(),
            bundles: Some(bundles),
            handshake_timeout,
        }
    }

    /// For a public listener.
    pub fn public(config: Arc<ServerConfig>, handshake_timeout: Duration) -> Self {
        Self {
            inner: config.into(),
            bundles: None,
            handshake_timeout,
        }
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// When the peer is refused, speaks no TLS, or takes too long.
    pub async fn accept(&self, tcp: TcpStream) -> io::Result<TlsIo> {
        // A refusal only costs latency, so the error of the socket option is of no interest.
        let _ = tcp.set_nodelay(true);
        let stream = timeout(self.handshake_timeout, self.inner.accept(tcp)).await??;
        Ok(TlsIo::new(stream.into(), self.bundles.clone()))
    }
}

/// The client side of handshakes.
#[derive(Clone)]
pub struct Connector {
    inner: TlsConnector,
    bundles: Option<TrustBundles>,
    server_name: ServerName<'static>,
    connect_timeout: Duration,
}

impl Connector {
    /// For internal connections: they end when the server is revoked in `bundles`.
    pub fn mtls(config: Arc<ClientConfig>, bundles: TrustBundles, connect_timeout: Duration) -> Self {
        // Never sent (no SNI) and never compared: the SPIFFE ID is what counts.
        let server_name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
        Self {
            inner: config.into(),
            bundles: Some(bundles),
            server_name,
            connect_timeout,
        }
    }

    /// For a server that is known by a root's hash or by roots in a file; the name matters for the latter.
    pub fn named(config: Arc<ClientConfig>, server_name: ServerName<'static>, connect_timeout: Duration) -> Self {
        Self {
            inner: config.into(),
            bundles: None,
            server_name,
            connect_timeout,
        }
    }

    /// Connects and does the handshake, both within one deadline.
    ///
    /// # Errors
    /// When the server cannot be reached, is refused, or takes too long.
    pub async fn connect(&self, address: impl ToSocketAddrs) -> io::Result<TlsIo> {
        let work = async {
            let tcp = TcpStream::connect(address).await?;
            let _ = tcp.set_nodelay(true);
            self.inner.connect(self.server_name.clone(), tcp).await
        };
        let stream = timeout(self.connect_timeout, work).await??;
        Ok(TlsIo::new(stream.into(), self.bundles.clone()))
    }
}

/// A connection after its handshake.
pub struct TlsIo {
    stream: TlsStream<TcpStream>,
    peer: Option<Peer>,
    remote: Option<SocketAddr>,
    /// Ends when the peer is refused; `None` where there is no peer to watch.
    refused: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    /// The peer is refused: nothing is read or written any more.
    revoked: bool,
    /// A place among the connections of a listener, given back at the end.
    _permit: Option<OwnedSemaphorePermit>,
}

impl TlsIo {
    fn new(stream: TlsStream<TcpStream>, bundles: Option<TrustBundles>) -> Self {
        let (tcp, connection) = stream.get_ref();
        let remote = tcp.peer_addr().ok();
        let peer = bundles.as_ref().and_then(|bundles| peer(connection, bundles.rules()));
        let refused = peer.clone().zip(bundles).map(|(peer, bundles)| {
            let watch: Pin<Box<dyn Future<Output = ()> + Send + Sync>> =
                Box::pin(bundles.until_refused(peer.id, peer.not_before));
            watch
        });
        Self {
            stream,
            peer,
            remote,
            refused,
            revoked: false,
            _permit: None,
        }
    }

    pub(crate) fn holding(self, permit: OwnedSemaphorePermit) -> Self {
        Self {
            _permit: Some(permit),
            ..self
        }
    }

    /// The proven peer; `None` on public connections and for callers without an SVID.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// The peer's address.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// The server name that a client asked for in its handshake; none where there was no name or on client connections.
    pub fn sni(&self) -> Option<&str> {
        match &self.stream {
            TlsStream::Server(stream) => stream.get_ref().1.server_name(),
            TlsStream::Client(_) => None,
        }
    }

    /// The state of the TLS session: protocol, suite, application protocol.
    pub fn session(&self) -> &CommonState {
        self.stream.get_ref().1
    }

    /// The application protocol agreed on, such as `h2`.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session().alpn_protocol()
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(refused) = &mut self.refused
            && refused.as_mut().poll(cx).is_ready()
        {
            self.refused = None;
            self.revoked = true;
            let peer = self.peer.as_ref().map(|peer| &peer.id);
            tracing::warn!(?peer, "connection closed: its peer is no longer trusted");
        }
        if self.revoked {
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the peer was revoked"))
        } else {
            Ok(())
        }
    }
}

impl AsyncRead for TlsIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.revoked {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut this.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.revoked {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut this.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl Connected for TlsIo {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        PeerInfo {
            peer: self.peer.clone(),
            remote: self.remote,
        }
    }
}
