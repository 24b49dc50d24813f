//! The accept loop of a TLS listener, as a stream of finished connections.
//!
//! One idea: handshakes run beside each other, bounded in number and time, so that a slow or hostile client delays
//! nobody. Refused handshakes are told in the log, at most one each few seconds, and never end the stream. Everything
//! stops when the stream is dropped.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use palladium_telemetry::Ration;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use crate::{Acceptor, TlsIo};

/// Bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Handshakes under way; beyond it new connections wait in the kernel's backlog.
    pub handshakes: usize,
    /// Open connections; beyond it new ones wait in the kernel's backlog until one ends.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 256,
            connections: 10_000,
        }
    }
}

/// Accepts until dropped. The items are always `Ok`; their type is what tonic's `serve_with_incoming` wants.
pub fn incoming(
    listener: TcpListener,
    acceptor: Acceptor,
    limits: Limits,
) -> impl Stream<Item = io::Result<TlsIo>> + Send {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let state = (listener, acceptor, JoinSet::new(), permits, Ration::new(RATION));
    stream::unfold(
        state,
        move |(listener, acceptor, mut handshakes, permits, mut ration)| async move {
            let done = next(&listener, &acceptor, &mut handshakes, limits, &permits, &mut ration).await;
            Some((Ok(done), (listener, acceptor, handshakes, permits, ration)))
        },
    )
}

/// How often failures of the same kind are told: strangers cause them, and the log is not theirs to fill.
const RATION: Duration = Duration::from_secs(10);

async fn next(
    listener: &TcpListener,
    acceptor: &Acceptor,
    handshakes: &mut JoinSet<io::Result<TlsIo>>,
    limits: Limits,
    permits: &Arc<Semaphore>,
    ration: &mut Ration,
) -> TlsIo {
    loop {
        tokio::select! {
            Some(done) = handshakes.join_next() => match done {
                Ok(Ok(connection)) => return connection,
                Ok(Err(error)) => {
                    if let Some(untold) = ration.tell(Instant::now()) {
                        tracing::info!(%error, untold, "TLS handshake refused");
                    }
                }
                Err(error) => tracing::error!(%error, "TLS handshake task failed"),
            },
            accepted = accept(listener, permits), if handshakes.len() < limits.handshakes => match accepted {
                Ok((tcp, permit)) => {
                    let acceptor = acceptor.clone();
                    handshakes.spawn(async move { acceptor.accept(tcp).await.map(|io| io.holding(permit)) });
                }
                Err(error) => {
                    // Out of descriptors, mostly: wait a little instead of spinning.
                    if let Some(untold) = ration.tell(Instant::now()) {
                        tracing::warn!(%error, untold, "cannot accept a connection");
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
}

async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (tcp, _) = listener.accept().await?;
    Ok((tcp, permit))
}
