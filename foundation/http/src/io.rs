//! The stream between the transport and the HTTP library: checks framing, measures liveness, ends without a reset.
//!
//! One idea: what a library has no limit for is limited where the bytes pass, without a copy and without a timer as
//! long as all goes well. Must never change a byte, except to end a connection.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::framing::Framing;
use crate::upload::PATIENCE;

/// What has happened since it was last looked at.
#[derive(Debug, Default)]
pub(crate) struct Activity(AtomicU8);

const READ: u8 = 1;
const WROTE: u8 = 2;
const BLOCKED: u8 = 4;
const INSIDE: u8 = 8;

/// One look at [`Activity`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// No byte moved in either direction.
    pub(crate) silent: bool,
    /// Something waits to be written and the peer took nothing.
    pub(crate) stuck: bool,
    /// An HTTP/1.1 request has begun to arrive and is not complete.
    pub(crate) inside: bool,
}

impl Activity {
    /// What happened since the last look; starts anew, but a blocked write stays noted until it moves.
    pub(crate) fn look(&self) -> Seen {
        let flags = self.0.fetch_and(BLOCKED | INSIDE, Ordering::Relaxed);
        Seen {
            silent: flags & (READ | WROTE) == 0,
            stuck: flags & BLOCKED != 0 && flags & WROTE == 0,
            inside: flags & INSIDE != 0,
        }
    }

    fn read(&self) {
        self.0.fetch_or(READ, Ordering::Relaxed);
    }

    fn write(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Ready(_) => {
                self.0.fetch_or(WROTE, Ordering::Relaxed);
                self.0.fetch_and(!BLOCKED, Ordering::Relaxed);
            }
            Poll::Pending => self.blocked(),
        }
    }

    fn blocked(&self) {
        self.0.fetch_or(BLOCKED, Ordering::Relaxed);
    }

    fn unblocked(&self) {
        self.0.fetch_and(!BLOCKED, Ordering::Relaxed);
    }

    fn inside(&self, now: bool) {
        if now {
            self.0.fetch_or(INSIDE, Ordering::Relaxed);
        } else {
            self.0.fetch_and(!INSIDE, Ordering::Relaxed);
        }
    }
}

/// How many bytes of a request that was answered before it was whole are still taken at the end of an HTTP/1.1 connection.
const LINGER: usize = 16 * 1024 * 1024;
/// Read at a time then.
const LINGER_PIECE: usize = 16 * 1024;

/// The end of a connection whose last request is still coming.
struct Lingering {
    until: Pin<Box<Sleep>>,
    left: usize,
    piece: Box<[u8]>,
}

impl Lingering {
    fn new() -> Self {
        Self {
            until: Box::pin(tokio::time::sleep(PATIENCE)),
            left: LINGER,
            piece: vec![0; LINGER_PIECE].into(),
        }
    }
}

/// A stream that checks what it reads.
pub(crate) struct Watched<T> {
    inner: T,
    /// Bytes that were read before the protocol was known.
    prefix: Vec<u8>,
    framing: Option<Framing>,
    refused: bool,
    /// What `activity` was last told.
    inside: bool,
    activity: Arc<Activity>,
    head: Duration,
    head_timer: Option<Pin<Box<Sleep>>>,
    lingering: Option<Lingering>,
}

impl<T> Watched<T> {
    /// `http1`: whether framing is checked. `head`: how long one request head may take.
    pub(crate) fn new(inner: T, prefix: Vec<u8>, http1: bool, head: Duration) -> Self {
        let framing = http1.then(Framing::new);
        Self {
            inner,
            prefix,
            framing,
            refused: false,
            inside: false,
            activity: Arc::default(),
            head,
            head_timer: None,
            lingering: None,
        }
    }

    pub(crate) fn activity(&self) -> Arc<Activity> {
        self.activity.clone()
    }

    /// Judges the bytes of `buffer` from `from` on. A bad one becomes a NUL, which the HTTP library can only refuse:
    /// with 400 if it is in a head, by failing the body otherwise. Nothing is read after that.
    fn check(&mut self, buffer: &mut ReadBuf<'_>, from: usize) {
        let Some(framing) = &mut self.framing else { return };
        if let Err(violation) = framing.take(&buffer.filled()[from..]) {
            tracing::debug!(reason = violation.reason, "bad HTTP/1.1 framing refused");
            self.refused = true;
            buffer.set_filled(from + violation.at);
            buffer.put_slice(b"\0");
        }
        if self.inside != framing.inside_message() {
            self.inside = !self.inside;
            self.activity.inside(self.inside);
        }
        if self.refused || !framing.inside_head() {
            self.head_timer = None;
        } else if self.head_timer.is_none() {
            self.head_timer = Some(Box::pin(tokio::time::sleep(self.head)));
        }
    }
}

impl<T: AsyncRead + Unpin> Watched<T> {
    /// Takes what the peer is still sending of its request, and forgets it: closing a socket that has unread bytes resets
    /// the connection, and the peer's system then throws away the answer that it has not read yet.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(framing) = &mut self.framing else {
            return Poll::Ready(());
        };
        let lingering = self.lingering.get_or_insert_with(Lingering::new);
        // Where what was refused would have ended nobody knows.
        while (self.refused || framing.inside_message())
            && lingering.left > 0
            && lingering.until.as_mut().poll(cx).is_pending()
        {
            let mut buffer = ReadBuf::new(&mut lingering.piece);
            let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer));
            let bytes = buffer.filled();
            if read.is_err() || bytes.is_empty() || (!self.refused && framing.take(bytes).is_err()) {
                break;
            }
            lingering.left = lingering.left.saturating_sub(bytes.len());
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.refused {
            return Poll::Ready(Ok(()));
        }
        let from = buffer.filled().len();
        if !this.prefix.is_empty() {
            let count = this.prefix.len().min(buffer.remaining());
            buffer.put_slice(&this.prefix[..count]);
            this.prefix.drain(..count);
        } else {
            match Pin::new(&mut this.inner).poll_read(cx, buffer) {
                Poll::Ready(outcome) => outcome?,
                Poll::Pending => {
                    if let Some(timer) = &mut this.head_timer {
                        ready!(timer.as_mut().poll(cx));
                        return Poll::Ready(Err(io::Error::new(
                            io::ErrorKind::TimedOut,
                            "request head took too long",
                        )));
                    }
                    return Poll::Pending;
                }
            }
        }
        if buffer.filled().len() > from {
            this.activity.read();
            this.check(buffer, from);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.activity.write(&outcome);
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        // TLS takes small writes into a buffer of its own: whether the peer takes them shows only here.
        if outcome.is_pending() {
            self.activity.blocked();
        } else {
            self.activity.unblocked();
        }
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        }
        self.poll_linger(cx).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.activity.write(&outcome);
        outcome
    }
}
