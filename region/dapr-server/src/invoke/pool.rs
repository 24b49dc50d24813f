//! HTTP/2 connections to one address, shared by all calls to it.
//!
//! One idea: connections belong to the thread that dialled them, so that no call is handed between threads; each carries
//! as many calls at a time as the original puts on one, then there is another. A connection that ended is left out by
//! itself, and a call that was never sent on it goes to a new one. One dials and the others wait for it: what comes of it
//! is their answer, too. Must never send a request twice that may have arrived.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use palladium_tls::Connector;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::watched::{Watched, Why};
use crate::app_channel::CallError;
use crate::http::Body;

/// Calls on one connection at a time.
const STREAMS: usize = 100;
/// Threads that have connections of their own; more share.
const SHARDS: usize = 8;
const CONNECT: Duration = Duration::from_secs(5);
/// How often a peer that says nothing is asked whether it is there, and how long it may take to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of one call that may wait to be written.
const SEND_BUFFER: usize = 256 << 10;

/// Connections to one address.
pub struct Pool {
    address: String,
    authority: Option<Authority>,
    tls: Option<Connector>,
    shards: [Shard; SHARDS],
}

#[derive(Default)]
struct Shard {
    open: Mutex<Vec<Arc<Connection>>>,
    /// One dials, the others wait for it. Why the last one failed, if it did.
    dialling: tokio::sync::Mutex<Option<(io::ErrorKind, String)>>,
    /// How often somebody has dialled to the end.
    dialled: AtomicU64,
}

struct Connection {
    sender: SendRequest<Body>,
    calls: AtomicUsize,
    _driver: AbortOnDropHandle<()>,
}

/// A call's place on its connection, which lives as long as this.
pub struct Lease(Arc<Connection>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lease")
    }
}

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no connection. The request is whole.
    #[error("connection error: {0}")]
    Connect(io::Error, Box<Request<Body>>),
    /// The connection ended; whether the peer got the request is not known.
    #[error("{0}")]
    Lost(hyper::Error),
    /// The request's body broke on its way.
    #[error("{0}")]
    Body(CallError),
}

impl Pool {
    /// Nothing is dialled before the first call. `address`: `host:port`.
    pub fn new(address: String, tls: Option<Connector>) -> Self {
        Self {
            authority: Authority::try_from(address.as_str()).ok(),
            address,
            tls,
            shards: Default::default(),
        }
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address of a path at the other end.
    pub fn uri(&self, path: &str) -> Uri {
        let scheme = if self.tls.is_some() {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        let path = PathAndQuery::try_from(path).unwrap_or_else(|_| PathAndQuery::from_static("/"));
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(scheme);
        parts.authority = self.authority.clone();
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Sends a request; gives the answer as soon as its head is there. Keep the lease until its body is read.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(&self, request: Request<Body>) -> Result<(Response<Incoming>, Lease), SendError> {
        let why = Why::default();
        let mut request = request.map(|body| Watched::watch(body, &why));
        let mut again = true;
        loop {
            let lease = match self.lease().await {
                Ok(lease) => lease,
                Err(error) => return Err(SendError::Connect(error, Box::new(request.map(Watched::unwatch)))),
            };
            match lease.0.sender.clone().try_send_request(request).await {
                Ok(answer) => return Ok((answer, lease)),
                Err(mut failed) => match failed.take_message() {
                    // Never sent: the connection was ending.
                    Some(unsent) if again => {
                        again = false;
                        request = unsent;
                        self.forget(&lease.0);
                    }
                    _ => {
                        let lost = || SendError::Lost(failed.into_error());
                        return Err(why.take().map_or_else(lost, SendError::Body));
                    }
                },
            }
        }
    }

    async fn lease(&self) -> io::Result<Lease> {
        let late = |_| {
            let words = format!("no connection to {} in time", self.address);
            io::Error::new(io::ErrorKind::TimedOut, words)
        };
        let shard = &self.shards[shard()];
        if let Some(lease) = shard.free() {
            return Ok(lease);
        }
        // Apart: dialling is rare and its state is large.
        let dial = Box::pin(async { timeout(CONNECT, self.dial()).await.map_err(late)? });
        shard.lease(dial).await
    }

    async fn dial(&self) -> io::Result<Connection> {
        if let Some(tls) = &self.tls {
            let stream = tls.connect(&self.address).await?;
            return begin(stream).await;
        }
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        begin(stream).await
    }

    fn forget(&self, connection: &Arc<Connection>) {
        for shard in &self.shards {
            shard.list().retain(|open| !Arc::ptr_eq(open, connection));
        }
    }
}

impl Shard {
    fn list(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place on a connection that is open, or on one that is dialled now.
    async fn lease(&self, dial: impl Future<Output = io::Result<Connection>>) -> io::Result<Lease> {
        let before = self.dialled.load(Ordering::Acquire);
        let mut failed = self.dialling.lock().await;
        if let Some(lease) = self.free() {
            return Ok(lease);
        }
        // Whoever waited does not dial a dead address once more for himself.
        if self.dialled.load(Ordering::Acquire) != before
            && let Some((kind, words)) = &*failed
        {
            return Err(io::Error::new(*kind, words.clone()));
        }
        let outcome = dial.await;
        *failed = outcome.as_ref().err().map(|error| (error.kind(), error.to_string()));
        self.dialled.fetch_add(1, Ordering::Release);
        let connection = Arc::new(outcome?);
        self.list().push(connection.clone());
        Ok(Lease(connection))
    }

    fn free(&self) -> Option<Lease> {
        let mut open = self.list();
        let mut at = 0;
        while let Some(connection) = open.get(at) {
            if connection.sender.is_closed() {
                open.swap_remove(at);
            } else if connection.calls.load(Ordering::Relaxed) < STREAMS {
                connection.calls.fetch_add(1, Ordering::Relaxed);
                return Some(Lease(connection.clone()));
            } else {
                at += 1;
            }
        }
        None
    }
}

async fn begin<S>(stream: S) -> io::Result<Connection>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (interval, answer) = KEEP_ALIVE;
    let (sender, driver) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(interval)
        .keep_alive_timeout(answer)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let driver = tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "a connection to a peer ended");
        }
    });
    Ok(Connection {
        sender,
        calls: AtomicUsize::new(1),
        _driver: AbortOnDropHandle::new(driver),
    })
}

/// This thread's number among those that call.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.with(|own| match own.get() {
        Some(number) => number,
        None => {
            let number = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            own.set(Some(number));
            number
        }
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Empty, Limited};
    use hyper::service::service_fn;
    use palladium_http::{Budget, Upload};

    use super::*;

    /// Answers when a request has come whole.
    async fn peer() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("any port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = service_fn(async |request: Request<Incoming>| {
                    request.into_body().collect().await?;
                    Ok::<_, hyper::Error>(Response::new(Empty::<bytes::Bytes>::new()))
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
            }
        });
        address
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_that_fails_answers_all_who_waited_for_it() {
        let (shard, dials) = (Shard::default(), AtomicUsize::new(0));
        let dial = || async {
            dials.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(CONNECT).await;
            Err(io::Error::new(io::ErrorKind::TimedOut, "dead"))
        };
        let start = tokio::time::Instant::now();
        let leases = futures_util::future::join_all((0..5).map(|_| shard.lease(dial()))).await;
        for lease in leases {
            let error = lease.expect_err("nobody is there");
            assert_eq!(
                (error.kind(), error.to_string().as_str()),
                (io::ErrorKind::TimedOut, "dead")
            );
        }
        assert_eq!((dials.load(Ordering::Relaxed), start.elapsed()), (1, CONNECT));
        assert!(shard.lease(dial()).await.is_err());
        assert_eq!(dials.load(Ordering::Relaxed), 2, "who comes later dials anew");
    }

    #[tokio::test]
    async fn sec_059_a_body_that_breaks_on_its_way_says_why() {
        let pool = Pool::new(peer().await, None);
        let send = async |budget: Budget, limit: usize| {
            let body = budget.hold().meter(Upload::whole(vec![7; 100].into())).passing();
            let mut request = Request::post(pool.uri("/")).body(Body::Limited(Limited::new(body, limit)));
            *request.as_mut().expect("valid").version_mut() = http::Version::HTTP_2;
            pool.send(request.expect("valid")).await
        };
        send(Budget::new(1000), 1000).await.expect("answered");
        let refused = send(Budget::new(1000), 50).await;
        assert!(
            matches!(refused, Err(SendError::Body(CallError::TooLarge))),
            "{refused:?}"
        );
        let refused = send(Budget::new(50), 1000).await;
        assert!(
            matches!(refused, Err(SendError::Body(CallError::NoRoom(_)))),
            "{refused:?}"
        );
    }
}
