//! The stream between the transport and the HTTP library: checks framing, measures liveness.
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

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
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
        Pin::new(&mut self.inner).poll_shutdown(cx)
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
