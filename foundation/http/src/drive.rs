//! One connection from accept to its end: handshake, choice of protocol, liveness, graceful end.
//!
//! Must never outlive the deadline of a drain, nor serve a request before the handshake is over.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use palladium_tasks::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use crate::answer::{Answer, Answering, Streams};
use crate::cork::cork;
use crate::io::{Activity, Watched};
use crate::serve::Opening;
use crate::upload::read_on;
use crate::{Connection, Limits, Upload};

type BoxError = Box<dyn StdError + Send + Sync>;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// HTTP/2 bytes that one stream may have waiting for a slow peer.
const SEND_BUFFER: usize = 128 * 1024;

/// Counts requests, so that a connection that never sends one can be told from an idle one, and keeps hold of bodies.
struct Counted<S> {
    inner: S,
    connection: Arc<Connection>,
    /// How long a body may stall.
    patience: Duration,
    /// For HTTP/2: where bodies go that are given up.
    rest: Option<Sender<Incoming>>,
}

impl<S, B> Service<Request<Incoming>> for Counted<S>
where
    S: Service<Request<Upload>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let request = Upload::of(request, self.patience, self.rest.as_ref());
        Answering::new(self.inner.call(request), self.connection.clone())
    }
}

/// Serves everything that comes on one connection. Errors are the peer's and only worth a debug line.
pub(crate) async fn drive<T, F, S, B>(opening: Opening<T>, limits: Arc<Limits>, make: F, shutdown: Shutdown)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: FnOnce(Arc<Connection>) -> S,
    S: Service<Request<Upload>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let begin = async {
        let (mut stream, mut connection) = opening.await?;
        let mut prefix = Vec::new();
        if !connection.tls {
            (connection.http2, prefix) = sniff(&mut stream).await?;
        }
        io::Result::Ok((stream, prefix, connection))
    };
    // A client may open a connection ahead of need and never use it: no stop waits for the first request on one.
    let Some(begun) = shutdown.unless(timeout(limits.begin, begin)).await else {
        return;
    };
    let outcome = match begun {
        Ok(Ok((stream, prefix, connection))) => serve(stream, prefix, connection, &limits, make, shutdown).await,
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err("no handshake or no request came".into()),
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Reads until the bytes can no longer be, or entirely are, the HTTP/2 preface.
async fn sniff<T: AsyncRead + Unpin>(stream: &mut T) -> io::Result<(bool, Vec<u8>)> {
    let mut read = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Ok((false, read));
        }
        let common = read.len().min(PREFACE.len());
        if read[..common] != PREFACE[..common] {
            return Ok((false, read));
        }
        if common == PREFACE.len() {
            return Ok((true, read));
        }
    }
}

async fn serve<T, F, S, B>(
    stream: T,
    prefix: Vec<u8>,
    connection: Connection,
    limits: &Limits,
    make: F,
    shutdown: Shutdown,
) -> Result<(), BoxError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: FnOnce(Arc<Connection>) -> S,
    S: Service<Request<Upload>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let connection = Arc::new(connection);
    // As many as there are streams at a time. A peer may begin more by resetting its own, so this is a bound of its own.
    let places = usize::try_from(limits.streams).unwrap_or(usize::MAX).clamp(1, 4096);
    let (rest, given_up) = channel(places);
    let service = Counted {
        inner: make(connection.clone()),
        connection: connection.clone(),
        patience: limits.body,
        rest: connection.http2.then_some(rest),
    };
    let stream = Watched::new(stream, prefix, !connection.http2, limits.head);
    let watch = Watch {
        activity: stream.activity(),
        connection,
        stall: limits.stall,
        idle: limits.idle,
        unproven_idle: limits.unproven_idle,
        given_up,
        places,
        rest: limits.stream_window.into(),
        shutdown,
    };
    if watch.connection.http2 {
        let (stream, uncork) = cork(stream);
        let http = hyper::server::conn::http2::Builder::new(Streams(limits.stall))
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(limits.stream_window)
            .initial_connection_window_size(limits.connection_window)
            .max_pending_accept_reset_streams(limits.pending_resets)
            .max_local_error_reset_streams(limits.error_resets)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(limits.ping)
            .keep_alive_timeout(limits.stall)
            .serve_connection(TokioIo::new(stream), service);
        let look = |http: Pin<&mut _>, cx: &mut Context<'_>| uncork.poll(http, cx);
        watch.over(pin!(http), look, |http| http.graceful_shutdown()).await
    } else {
        // No timer: the head's deadline and idleness are kept by `Watched` and `Watch`, without one per request.
        let http = hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .max_headers(limits.headers)
            .max_header_size(limits.header_bytes)
            .max_buf_size(limits.header_bytes.max(64 * 1024))
            .serve_connection(TokioIo::new(stream), service);
        let look = |http: Pin<&mut _>, cx: &mut Context<'_>| Future::poll(http, cx);
        watch.over(pin!(http), look, |http| http.graceful_shutdown()).await
    }
}

/// Looks after a connection while the HTTP library works on it.
struct Watch {
    activity: Arc<Activity>,
    connection: Arc<Connection>,
    stall: Duration,
    idle: Duration,
    unproven_idle: Duration,
    /// Bodies that nobody reads any more.
    given_up: Receiver<Incoming>,
    /// How many of them are read at a time; as many again may wait in the channel, further ones are dropped.
    places: usize,
    /// How many bytes of each are still read: what the peer may send of one without being read at all.
    rest: u64,
    shutdown: Shutdown,
}

impl Watch {
    /// `look` polls the library's connection, `end` tells it to end.
    async fn over<C>(
        mut self,
        mut http: Pin<&mut C>,
        mut look: impl FnMut(Pin<&mut C>, &mut Context<'_>) -> Poll<hyper::Result<()>>,
        end: impl Fn(Pin<&mut C>),
    ) -> Result<(), BoxError> {
        let mut looks = interval_at(tokio::time::Instant::now() + self.stall, self.stall);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silence = Duration::ZERO;
        let mut ending = false;
        let mut stop = pin!(self.shutdown.wait());
        let mut rests = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                outcome = poll_fn(|cx| look(http.as_mut(), cx)) => return outcome.map_err(Into::into),
                () = &mut stop, if !ending => {
                    ending = true;
                    end(http.as_mut());
                }
                Some(body) = self.given_up.recv(), if rests.len() < self.places => rests.push(read_on(body, self.rest)),
                Some(()) = rests.next(), if !rests.is_empty() => {}
                _ = looks.tick() => {
                    let seen = self.activity.look();
                    if seen.stuck {
                        return Err("the peer takes no answer".into());
                    }
                    if self.connection.requests() == 0 {
                        return Err("no request came".into());
                    }
                    silence = if seen.silent { silence + self.stall } else { Duration::ZERO };
                    let proven = self.connection.is_proven();
                    let idle = if proven { self.idle } else { self.idle.min(self.unproven_idle) };
                    if silence >= idle && seen.inside {
                        return Err("the rest of a request never came".into());
                    }
                    if silence >= idle && !ending {
                        ending = true;
                        end(http.as_mut());
                    }
                }
            }
        }
    }
}
