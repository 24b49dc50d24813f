//! The accept loop: takes connections while there is room, owns their tasks, drains them at the end.
//!
//! Must never die of a bad connection or of a passing shortage of files.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Body;
use hyper::service::Service;
use hyper::{Request, Response};
use palladium_tasks::{Shutdown, Tasks};
use palladium_telemetry::Ration;
use palladium_tls::{Acceptor, TlsIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::addresses::Addresses;
use crate::drive::drive;
use crate::{Connection, Limits, Upload};

/// How often it is told that an address has too many connections: strangers cause it, and the log is not theirs to fill.
const RATION: Duration = Duration::from_secs(10);

/// A connection on its way: what there is to do before HTTP, done in the connection's own task.
pub type Opening<S> = Pin<Box<dyn Future<Output = io::Result<(S, Connection)>> + Send>>;

/// A connection that has come.
pub struct Arrival<S> {
    /// Where from; `None` on a Unix socket.
    pub remote: Option<SocketAddr>,
    /// What is still to do.
    pub opening: Opening<S>,
}

/// Something that accepts connections.
pub trait Accept: Send + Sync {
    /// What a connection is.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection; a handshake, if there is one, is still to be done.
    fn accept(&self) -> impl Future<Output = io::Result<Arrival<Self::Stream>>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<Arrival<TcpStream>> {
        let (stream, remote) = Self::accept(self).await?;
        let opening = async move {
            stream.set_nodelay(true)?;
            Ok((
                stream,
                Connection {
                    remote: Some(remote),
                    ..Connection::default()
                },
            ))
        };
        Ok(Arrival {
            remote: Some(remote),
            opening: Box::pin(opening),
        })
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<Arrival<UnixStream>> {
        let (stream, _) = Self::accept(self).await?;
        Ok(Arrival {
            remote: None,
            opening: Box::pin(async move { Ok((stream, Connection::default())) }),
        })
    }
}

/// A TCP listener behind TLS, mutual or not as the acceptor is. Its configuration should offer [`palladium_tls::ALPN_HTTP`].
pub struct TlsListener {
    listener: TcpListener,
    acceptor: Acceptor,
}

impl TlsListener {
    /// Puts `acceptor`, which has the handshake's deadline, in front of HTTP.
    pub fn new(listener: TcpListener, acceptor: Acceptor) -> Self {
        Self { listener, acceptor }
    }
}

impl Accept for TlsListener {
    type Stream = TlsIo;

    async fn accept(&self) -> io::Result<Arrival<TlsIo>> {
        let (stream, remote) = self.listener.accept().await?;
        let acceptor = self.acceptor.clone();
        let opening = async move {
            let stream = acceptor.accept(stream).await?;
            let connection = Connection {
                remote: Some(remote),
                peer: stream.peer().map(|peer| peer.id.clone()),
                sni: stream.sni().map(|name| name.to_ascii_lowercase().into()),
                tls: true,
                http2: stream.alpn() == Some(b"h2"),
                ..Connection::default()
            };
            Ok((stream, connection))
        };
        Ok(Arrival {
            remote: Some(remote),
            opening: Box::pin(opening),
        })
    }
}

/// A listener with its protection and its limits.
#[derive(Debug)]
pub struct Server<L> {
    listener: L,
    limits: Arc<Limits>,
}

impl<L: Accept> Server<L> {
    /// Nothing is accepted before [`Server::serve`]. On a plaintext listener HTTP/2 is told by its preface.
    pub fn new(listener: L, limits: Limits) -> Self {
        Self {
            listener,
            limits: Arc::new(limits),
        }
    }

    /// Serves until `shutdown`, then lets requests finish within [`Limits::drain`]. `make` gives each connection its
    /// service. Runs its connections on the current runtime, so a current-thread runtime keeps them on its thread.
    pub async fn serve<F, S, B>(self, make: F, shutdown: &Shutdown)
    where
        F: Fn(Arc<Connection>) -> S + Clone + Send + 'static,
        S: Service<Request<Upload>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn StdError + Send + Sync>>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let room = Arc::new(Semaphore::new(self.limits.connections));
        let addresses = Addresses::new(self.limits.connections.div_ceil(self.limits.addresses.max(1)));
        let mut full = Ration::new(RATION);
        let mut tasks = Tasks::new();
        while let Some((permit, arrival)) = shutdown.unless(self.next(&room)).await {
            let Some(place) = addresses.place(arrival.remote) else {
                if let Some(untold) = full.tell(Instant::now()) {
                    let address = arrival.remote.map(|remote| remote.ip());
                    tracing::warn!(?address, untold, "too many connections of one address; hung up");
                }
                continue;
            };
            let work = drive(arrival.opening, self.limits.clone(), make.clone(), shutdown.clone());
            tasks.spawn("http-connection", async move {
                work.await;
                // In this order: who takes the permit may need the place.
                drop(place);
                drop(permit);
            });
        }
        drop(self.listener);
        if let Err(overdue) = tasks.drain(self.limits.drain).await {
            tracing::warn!(%overdue, "connections were cut off at shutdown");
        }
    }

    async fn next(&self, room: &Arc<Semaphore>) -> (Option<OwnedSemaphorePermit>, Arrival<L::Stream>) {
        // The semaphore is never closed, so a permit always comes.
        let permit = room.clone().acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok(arrival) => return (permit, arrival),
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// The connection ended before it was accepted; nothing is wrong with the listener.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidInput};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | InvalidInput)
}
