//! What an HTTP/2 library writes at one look at its connection, sent in one piece.
//!
//! One idea: the library asks for head, message and end of an answer to be sent one after the other. They are kept until it
//! has nothing more to say for now, and then go together: one call of the kernel, one TLS record, one wake of the peer. Must
//! never keep a byte once the library waits, unless the peer takes none; nor keep more than [`ROOM`]. Only for a library whose
//! connection is driven by the future that is polled here: HTTP/2 servers, not the client, which gives it to an executor.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is longer is not worth a copy.
const ROOM: usize = 16 * 1024;
/// Room that an idle connection keeps.
const KEPT: usize = 4 * 1024;

/// The stream, for the library.
#[derive(Debug)]
pub(crate) struct Corked<T>(Arc<Mutex<Cork<T>>>);

/// The other hold on it, for whoever polls the library.
#[derive(Debug)]
pub(crate) struct Uncork<T>(Arc<Mutex<Cork<T>>>);

#[derive(Debug)]
struct Cork<T> {
    stream: T,
    kept: Vec<u8>,
    /// How many of them the stream has.
    sent: usize,
    /// The stream may hold something back until it is flushed, as TLS does.
    unflushed: bool,
    /// Why what was kept cannot be sent.
    failed: Option<io::Error>,
}

/// A stream whose bytes go out when the library that writes them was driven, and the means to drive it.
pub(crate) fn cork<T>(stream: T) -> (Corked<T>, Uncork<T>) {
    let cork = Arc::new(Mutex::new(Cork {
        stream,
        kept: Vec::new(),
        sent: 0,
        unflushed: false,
        failed: None,
    }));
    (Corked(cork.clone()), Uncork(cork))
}

/// Both holds are polled by one task: there is never anybody to wait for. A panic under the lock ends that task.
fn lock<T>(cork: &Mutex<Cork<T>>) -> MutexGuard<'_, Cork<T>> {
    cork.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: AsyncWrite + Unpin> Uncork<T> {
    /// Polls the library's connection, and sends what it wrote.
    pub(crate) fn poll<C: Future>(&self, connection: Pin<&mut C>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let outcome = connection.poll(cx);
        let mut cork = lock(&self.0);
        if let Poll::Ready(Err(error)) = cork.poll_send(cx) {
            cork.failed = Some(error);
            // The library waits for something to read: it is told there.
            cx.waker().wake_by_ref();
        }
        outcome
    }
}

impl<T: AsyncWrite + Unpin> Cork<T> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.kept.len() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.kept[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        self.kept.clear();
        self.kept.shrink_to(KEPT);
        self.sent = 0;
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the parts if there is room, or makes room and says `false` if they are too long to be kept.
    fn poll_keep<'a>(
        &mut self,
        cx: &mut Context<'_>,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
        length: usize,
    ) -> Poll<io::Result<bool>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.kept.len() + length > ROOM {
            ready!(self.poll_send(cx))?;
        }
        self.unflushed = true;
        if length > ROOM {
            return Poll::Ready(Ok(false));
        }
        parts.for_each(|part| self.kept.extend_from_slice(part));
        Poll::Ready(Ok(true))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Corked<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut cork = lock(&self.0);
        if let Some(error) = cork.failed.take() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut cork.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Corked<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut cork = lock(&self.0);
        if ready!(cork.poll_keep(cx, std::iter::once(bytes), bytes.len()))? {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut cork.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut cork = lock(&self.0);
        let length = parts.iter().map(|part| part.len()).sum();
        if ready!(cork.poll_keep(cx, parts.iter().map(|part| &**part), length))? {
            return Poll::Ready(Ok(length));
        }
        Pin::new(&mut cork.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).stream.is_write_vectored()
    }

    /// Nothing: what is kept is sent when the library has been driven.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut cork = lock(&self.0);
        ready!(cork.poll_send(cx))?;
        Pin::new(&mut cork.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
