//! The bytes between the library and the server.
//!
//! One idea: we open the stream and keep a way to cut it: the library works in a thread of its own, which ends only with its
//! stream. Must never let the library open one itself, nor read what was not looked at ([`Shallow`]).

mod shallow;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use futures_io::{AsyncRead, AsyncWrite};
use palladium_components_dial::{Stream, Target};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use shallow::Shallow;

/// Cuts a connection when it is dropped.
pub(crate) struct Cut(CancellationToken);

impl Cut {
    pub(crate) fn new() -> Self {
        Cut(CancellationToken::new())
    }

    pub(crate) fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A stream that can be cut.
pub(crate) struct Wire {
    stream: Compat<Stream>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    shallow: Shallow,
}

impl Wire {
    /// Connects.
    pub(crate) async fn open(target: &Target, cut: CancellationToken) -> io::Result<Self> {
        let stream = target.connect().await?;
        Ok(Wire {
            stream: stream.compat(),
            cut: Box::pin(cut.cancelled_owned()),
            shallow: Shallow::new(),
        })
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Err(cut) = self.check(context) {
            return Poll::Ready(Err(cut));
        }
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.shallow.pass(&mut buffer[..read])?;
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

/// What the library needs to run on Tokio with streams of ours.
pub(crate) type Kit = RuntimeParts<Tokio, Wires>;

/// Needs a Tokio runtime around it.
pub(crate) fn kit() -> Kit {
    RuntimeParts::new(Tokio::current(), Wires(Tokio::current()))
}

/// Tokio's reactor, but for the type of its streams.
#[derive(Clone)]
pub(crate) struct Wires(Tokio);

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wires")
    }
}

impl Reactor for Wires {
    type TcpStream = Wire;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Wire, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, pause: Duration) -> Self::Sleep {
        self.0.sleep(pause)
    }

    fn interval(&self, period: Duration) -> impl futures_util::Stream<Item = Instant> + Send + 'static {
        self.0.interval(period)
    }

    fn tcp_connect_addr(&self, _: SocketAddr) -> impl Future<Output = io::Result<Wire>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
