//! Connections to one Dapr Server, of one worker.
//!
//! One idea: HTTP/1.1 connections are a stack of idle ones, the warmest on top; HTTP/2 connections are shared until one
//! has enough streams. Whoever cannot connect learns it at once, and for a moment nobody tries again. Must never hold
//! one of the short locks over an await, lend a connection to another upstream than its own, or take one back whose
//! answer is not complete: the next request would read the rest.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use palladium_tls::{Connector, TlsIo};
use prometheus_client::metrics::counter::Counter;
use tokio_util::task::TaskTracker;

use super::lease::{Lease, Sender};
use super::{CONNECT, Upstream};
use crate::body::RequestBody;

/// Idle HTTP/1.1 connections to keep.
const IDLE: usize = 64;
/// Streams on one HTTP/2 connection before another is opened; well below what a Dapr Server allows.
const STREAMS: usize = 100;
/// HTTP/2 connections; after that the least busy one queues.
const CONNECTIONS: usize = 16;
/// After a failed attempt, how long others are told so without an attempt of their own.
const PAUSE: Duration = Duration::from_millis(20);
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
const PING: Duration = Duration::from_secs(10);

/// The Dapr Server could not be reached, or was not who it should be.
#[derive(Debug)]
pub(crate) struct Unreachable;

/// All pools of a worker, by [`Upstream::key`].
pub(crate) struct Pools {
    pools: Mutex<HashMap<u64, Arc<Pool>>>,
    /// Version of the table that the pools were last compared with.
    tidied: Mutex<u64>,
    connections: TaskTracker,
    dialled: Counter,
}

impl Pools {
    pub(crate) fn new(dialled: Counter) -> Self {
        Self {
            pools: Mutex::default(),
            tidied: Mutex::new(0),
            connections: TaskTracker::new(),
            dialled,
        }
    }

    pub(crate) fn of(&self, upstream: &Upstream) -> Arc<Pool> {
        let mut pools = lock(&self.pools);
        let new = || Arc::new(Pool::new(self.connections.clone(), self.dialled.clone()));
        pools.entry(upstream.key).or_insert_with(new).clone()
    }

    /// Lets go of connections to upstreams that are in no table any more. Cheap when the version is the last one.
    pub(crate) fn tidy(&self, version: u64, live: impl FnOnce() -> HashSet<u64>) {
        let mut tidied = lock(&self.tidied);
        if *tidied != version {
            *tidied = version;
            let live = live();
            lock(&self.pools).retain(|key, _| live.contains(key));
        }
    }

    /// Closes idle connections and waits briefly for the others.
    pub(crate) async fn close(&self) {
        lock(&self.pools).clear();
        self.connections.close();
        let _ = tokio::time::timeout(Duration::from_millis(500), self.connections.wait()).await;
    }
}

/// The connections to one upstream.
pub(crate) struct Pool {
    idle: Mutex<Vec<http1::SendRequest<RequestBody>>>,
    shared: Mutex<Vec<Arc<Shared>>>,
    /// Held while an HTTP/2 connection is opened, so that a burst opens one and not hundreds.
    opening: tokio::sync::Mutex<()>,
    failed: Mutex<Option<Instant>>,
    connections: TaskTracker,
    dialled: Counter,
}

/// One HTTP/2 connection.
pub(crate) struct Shared {
    sender: http2::SendRequest<RequestBody>,
    streams: AtomicUsize,
    /// It refused a request: it is on its way out.
    leaving: AtomicBool,
}

impl Pool {
    fn new(connections: TaskTracker, dialled: Counter) -> Self {
        Self {
            idle: Mutex::default(),
            shared: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            failed: Mutex::default(),
            connections,
            dialled,
        }
    }

    /// A connection for one request.
    pub(crate) async fn lease(self: &Arc<Self>, upstream: &Upstream, http2: bool) -> Result<Lease, Unreachable> {
        let sender = if http2 {
            Sender::Http2(Stream::new(self.stream(upstream).await?))
        } else if let Some(idle) = self.take_idle() {
            Sender::Http1(idle)
        } else {
            Sender::Http1(self.open_http1(upstream).await?)
        };
        Ok(Lease::new(self.clone(), sender))
    }

    /// Takes a connection back whose request and answer are both complete.
    pub(crate) fn put_idle(&self, sender: http1::SendRequest<RequestBody>) {
        let mut idle = lock(&self.idle);
        if !sender.is_closed() && idle.len() < IDLE {
            idle.push(sender);
        }
    }

    /// The warmest idle connection that can take a request now. One that is not ready is between two requests: it is
    /// left for the next taker.
    fn take_idle(&self) -> Option<http1::SendRequest<RequestBody>> {
        let mut idle = lock(&self.idle);
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().rposition(http1::SendRequest::is_ready)?;
        Some(idle.remove(ready))
    }

    async fn open_http1(&self, upstream: &Upstream) -> Result<http1::SendRequest<RequestBody>, Unreachable> {
        let stream = self.dial(&upstream.http1, upstream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Unreachable)?;
        self.connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a Dapr Server ended");
            }
        });
        Ok(sender)
    }

    async fn stream(&self, upstream: &Upstream) -> Result<Arc<Shared>, Unreachable> {
        if let Some(shared) = self.least_busy(false) {
            return Ok(shared);
        }
        let _turn = self.opening.lock().await;
        if let Some(shared) = self.least_busy(false) {
            return Ok(shared);
        }
        if lock(&self.shared).len() >= CONNECTIONS {
            return self.least_busy(true).ok_or(Unreachable);
        }
        let stream = self.dial(&upstream.http2, upstream).await?;
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|_| Unreachable)?;
        self.connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a Dapr Server ended");
            }
        });
        let shared = Arc::new(Shared {
            sender,
            streams: AtomicUsize::new(0),
            leaving: AtomicBool::new(false),
        });
        lock(&self.shared).push(shared.clone());
        Ok(shared)
    }

    fn least_busy(&self, even_if_full: bool) -> Option<Arc<Shared>> {
        let mut all = lock(&self.shared);
        all.retain(|shared| !shared.leaving.load(Ordering::Relaxed) && !shared.sender.is_closed());
        let least = all.iter().min_by_key(|shared| shared.streams.load(Ordering::Relaxed))?;
        (even_if_full || least.streams.load(Ordering::Relaxed) < STREAMS).then(|| least.clone())
    }

    async fn dial(&self, connector: &Connector, upstream: &Upstream) -> Result<TlsIo, Unreachable> {
        if lock(&self.failed).is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(Unreachable);
        }
        match connector.connect(upstream.address).await {
            Ok(stream) => {
                self.dialled.inc();
                *lock(&self.failed) = None;
                Ok(stream)
            }
            Err(error) => {
                let first = lock(&self.failed)
                    .replace(Instant::now())
                    .is_none_or(|at| at.elapsed() > CONNECT);
                if first {
                    let (id, address) = (&upstream.spiffe_id, upstream.address);
                    tracing::warn!(%error, %id, %address, "Dapr Server cannot be reached");
                }
                Err(Unreachable)
            }
        }
    }
}

/// One stream's place on a shared connection, given back when dropped.
pub(crate) struct Stream(Arc<Shared>);

impl Stream {
    fn new(shared: Arc<Shared>) -> Self {
        shared.streams.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }

    pub(super) fn sender(&self) -> http2::SendRequest<RequestBody> {
        self.0.sender.clone()
    }

    /// No new request goes on this connection.
    pub(super) fn leave(&self) {
        self.0.leaving.store(true, Ordering::Relaxed);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Nothing panics while one of these is held; a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
