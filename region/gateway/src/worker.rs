//! One worker: a thread with a runtime, a listener, connections and pools of its own.
//!
//! One idea: a request stays on one thread from its first to its last byte. Must never share more than [`Shared`] with another
//! worker.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper::service::service_fn;
use palladium_http::{Connection, Server, TlsListener};
use palladium_tasks::Shutdown;
use palladium_tls::Acceptor;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::config::{AccessLog, LimitsConfig};
use crate::error::Error;
use crate::freshness::Freshness;
use crate::metrics::Metrics;
use crate::phases;
use crate::table::Table;
use crate::upstream::Pools;

/// What all workers see.
pub(crate) struct Shared {
    pub(crate) table: ArcSwap<Table>,
    pub(crate) freshness: Freshness,
    /// Told after each new table; for requests that wait.
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) limits: LimitsConfig,
    pub(crate) access_log: AccessLog,
    pub(crate) metrics: Metrics,
}

/// One worker's own.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pools: Pools,
    /// Requests that wait for a Dapr Server.
    pub(crate) held: AtomicUsize,
    /// For lines about strangers, and for lines about App IDs.
    pub(crate) log_budgets: [LogBudget; 2],
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let pools = Pools::new(shared.metrics.dialled.clone());
        Self {
            shared,
            pools,
            held: AtomicUsize::new(0),
            log_budgets: [LogBudget::new(20), LogBudget::new(200)],
        }
    }

    /// Serves one listener until `shutdown`.
    async fn serve(self: Arc<Self>, listener: TcpListener, acceptor: Acceptor, workers: usize, shutdown: &Shutdown) {
        let limits = self.shared.limits.listener(workers);
        let worker = self.clone();
        let make = move |connection: Arc<Connection>| {
            let worker = worker.clone();
            service_fn(move |request| {
                let (worker, connection) = (worker.clone(), connection.clone());
                async move { Ok::<_, Infallible>(phases::handle(worker, connection, request).await) }
            })
        };
        Server::new(TlsListener::new(listener, acceptor), limits)
            .serve(make, shutdown)
            .await;
        self.pools.close().await;
    }
}

/// Starts worker `number` of `workers` on a thread of its own. The receiver hears of its end, however it ends.
pub(crate) fn start(
    number: usize,
    workers: usize,
    listener: std::net::TcpListener,
    acceptor: Acceptor,
    shared: Arc<Shared>,
    shutdown: Shutdown,
) -> Result<oneshot::Receiver<()>, Error> {
    let failed = |error: std::io::Error| Error::Worker {
        number,
        reason: error.to_string(),
    };
    let (ended, receiver) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener).map_err(failed)?
    };
    std::thread::Builder::new()
        .name(format!("gateway-{number}"))
        .spawn(move || {
            let worker = Arc::new(Worker::new(shared));
            runtime.block_on(worker.serve(listener, acceptor, workers, &shutdown));
            // Nobody listens any more when the process is already on its way out.
            let _ = ended.send(());
        })
        .map_err(failed)?;
    Ok(receiver)
}

/// Rations log lines that anybody on the network could cause: a flood must not fill the disk.
pub(crate) struct LogBudget {
    per_second: u32,
    second: AtomicU64,
    lines: AtomicU32,
    suppressed: AtomicU64,
}

impl LogBudget {
    fn new(per_second: u32) -> Self {
        Self {
            per_second,
            second: AtomicU64::new(0),
            lines: AtomicU32::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// Whether a line may be logged; if so, how many were not since the last one.
    pub(crate) fn take(&self) -> Option<u64> {
        let now = started().elapsed().as_secs();
        if self.second.swap(now, Ordering::Relaxed) != now {
            self.lines.store(0, Ordering::Relaxed);
        }
        if self.lines.fetch_add(1, Ordering::Relaxed) < self.per_second {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// The instant from which seconds are counted.
fn started() -> Instant {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    *STARTED.get_or_init(|| Instant::now() - Duration::from_secs(1))
}
