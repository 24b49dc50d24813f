//! The accept loop of a TLS listener, as a stream of finished connections.
//!
//! One idea: handshakes run beside each other, bounded in number and time, so that a slow or hostile client delays
//! nobody. Refused handshakes are counted in the log and never end the stream. Everything stops when the stream is
//! dropped.

use std::{io, sync::Arc};

use futures_util::{Stream, stream};
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
    let state = (listener, acceptor, JoinSet::new(), permits);
    stream::unfold(state, move |(listener, acceptor, mut handshakes, permits)| async move {
        let done = next(&listener, &acceptor, &mut handshakes, limits, &permits).await;
        Some((Ok(done), (listener, acceptor, handshakes, permits)))
    })
}

async fn next(
    listener: &TcpListener,
    acceptor: &Acceptor,
    handshakes: &mut JoinSet<io::Result<TlsIo>>,
    limits: Limits,
    permits: &Arc<Semaphore>,
) -> TlsIo {
    loop {
        tokio::select! {
            Some(done) = handshakes.join_next() => match done {
                Ok(Ok(connection)) => return connection,
                Ok(Err(error)) => tracing::info!(%error, "TLS handshake refused"),
                Err(error) => tracing::error!(%error, "TLS handshake task failed"),
            },
            accepted = accept(listener, permits), if handshakes.len() < limits.handshakes => match accepted {
                Ok((tcp, permit)) => {
                    let acceptor = acceptor.clone();
                    handshakes.spawn(async move { acceptor.accept(tcp).await.map(|io| io.holding(permit)) });
                }
                Err(error) => {
                    // Out of descriptors, mostly: wait a little instead of spinning.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
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
