//! An answer on its way out: what it says of its connection, and whether the peer takes it.
//!
//! One idea: an HTTP/2 answer is asked for its next piece only when the peer has room for one, so a stream that is not asked
//! for long although it has something to give belongs to a peer that takes nothing ("slow read"). That stream alone is
//! reset: others on the connection may be somebody else's. An answer that waits for its own source waits in peace. HTTP/1.1
//! has the same rule in `drive`, for its whole connection. Who runs a stream, and where, is decided here as well ([`Streams`]).
//! Must never hold more than the piece in hand.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::Response;
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::task::coop::consume_budget;
use tokio::time::Sleep;

use crate::Connection;

/// So much of an answer is given at a time: what is given is out of sight. A peer must take one in each span.
const PIECE: usize = 16 * 1024;

tokio::task_local! {
    /// Of the HTTP/2 stream that takes a step.
    static PROGRESS: Progress;
}

/// How far an answer is: what changes when it goes on, and in the lowest bit whether the peer is waited for.
#[derive(Clone, Debug, Default)]
struct Progress(Arc<AtomicU32>);

impl Progress {
    fn moved(&self, peers_turn: bool) {
        let next = (self.0.load(Ordering::Relaxed) | 1).wrapping_add(1);
        self.0.store(next | u32::from(peers_turn), Ordering::Relaxed);
    }

    fn look(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

pin_project! {
    /// A request under way. It counts until its answer begins.
    pub(crate) struct Answering<F> {
        #[pin]
        inner: F,
        open: Open,
    }
}

struct Open(Arc<Connection>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

impl<F> Answering<F> {
    pub(crate) fn new(inner: F, connection: Arc<Connection>) -> Self {
        connection.begin_request();
        Self {
            inner,
            open: Open(connection),
        }
    }
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<Answer<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx))?;
        this.open.0.answered(&answer);
        let progress = PROGRESS.try_with(Progress::clone).ok();
        // Without a body there is nothing to wait for.
        let progress = progress.filter(|_| !answer.body().is_end_stream());
        if let Some(progress) = &progress {
            progress.moved(true);
        }
        Poll::Ready(Ok(answer.map(|inner| Answer {
            inner,
            rest: Bytes::new(),
            progress,
        })))
    }
}

pin_project! {
    /// The body of an answer.
    pub(crate) struct Answer<B> {
        #[pin]
        inner: B,
        // Of the piece that the inner body gave last.
        rest: Bytes,
        // `None` for HTTP/1.1.
        progress: Option<Progress>,
    }
}

impl<B: Body<Data = Bytes>> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let Some(progress) = this.progress else {
            return this.inner.poll_frame(cx);
        };
        if this.rest.is_empty() {
            let polled = this.inner.poll_frame(cx);
            progress.moved(polled.is_ready());
            match ready!(polled).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => *this.rest = data,
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => return Poll::Ready(None),
            }
        } else {
            progress.moved(true);
        }
        let piece = this.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

/// Runs the streams of an HTTP/2 connection: a first step at once, in the connection's task, as a call that waits for nothing
/// is answered by it and needs no task; what is not over by then goes on in a task of its own. A first step keeps the
/// connection's other streams waiting, so long computing belongs behind a wait; and only so many are taken in one turn of the
/// connection. One whose peer takes nothing for the span ends.
#[derive(Clone, Debug)]
pub(crate) struct Streams(pub(crate) Duration);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, inner: F) {
        let progress = Progress::default();
        let stream = Stream {
            inner,
            progress: progress.clone(),
            stall: self.0,
            seen: 0,
            timer: None,
        };
        let mut stream = Box::pin(PROGRESS.scope(progress, stream));
        // Nobody is to be woken: what is not over is asked again in a task of its own.
        let mut nobody = Context::from_waker(Waker::noop());
        // One turn of the connection has one budget, for what it reads and for these steps. The listener's other connections
        // have theirs when it is used up.
        if pin!(consume_budget()).poll(&mut nobody).is_pending() {
            tokio::spawn(stream);
            return;
        }
        // A panic ends its stream, as it would in a task of its own, and no other one of the connection.
        match catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(&mut nobody))) {
            // It ends with its connection: what it reads from and writes to is gone then.
            Ok(Poll::Pending) => drop(tokio::spawn(stream)),
            Ok(Poll::Ready(())) => {}
            // The panic was told where it happened.
            Err(_) => drop(catch_unwind(AssertUnwindSafe(|| drop(stream)))),
        }
    }
}

pin_project! {
    struct Stream<F> {
        #[pin]
        inner: F,
        progress: Progress,
        stall: Duration,
        seen: u32,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.inner.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let now = this.progress.look();
        if now & 1 == 0 {
            *this.timer = None;
            return Poll::Pending;
        }
        if *this.seen != now {
            (*this.seen, *this.timer) = (now, None);
        }
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(*this.stall)));
        ready!(timer.as_mut().poll(cx));
        tracing::debug!("a stream was reset: its peer takes nothing of the answer");
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::runtime::Handle;

    use super::*;

    #[tokio::test]
    async fn a_stream_that_waits_for_nothing_needs_no_task() {
        let streams = Streams(Duration::from_secs(1));
        let tasks = || Handle::current().metrics().num_alive_tasks();
        streams.execute(ready(()));
        assert_eq!(tasks(), 0);
        streams.execute(pending());
        assert_eq!(tasks(), 1);
        // Others are to have their turn.
        (0..1000).for_each(|_| streams.execute(ready(())));
        assert!(tasks() > 500, "{}", tasks());
    }
}
