//! A request's body, and what becomes of one that nobody reads to its end.
//!
//! One idea: an answer may come before the request is whole (a bad token, a body that is too large), and a client that is
//! still sending must hear it all the same. HTTP/2 would reset the stream right behind the answer, and some clients (curl)
//! lose the answer by it. So a body that is given up goes back to its connection, which reads on for a moment
//! ([`read_on`]); most are whole by then and nothing is reset. HTTP/1.1 ends the connection instead; there `io` lingers.
//! Must never read on without a bound of bytes and time, nor longer than the connection lives.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use tokio::sync::mpsc::Sender;
use tokio::time::{Sleep, timeout};

/// How long the rest of a body that was given up is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Progress that a body which is waited for must make in each span.
const PROGRESS: usize = 1024;

/// Why a request's body does not come.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The client is too slow, or sends nothing any more.
    #[error("the request body stalled")]
    Stalled,
    /// It broke off.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
}

/// A request's body as it comes. Dropping it early is fine.
#[derive(Debug)]
pub struct Upload {
    /// `None` only while it is dropped.
    inner: Option<Incoming>,
    /// Where to leave it; `None` when there is nothing to read on for.
    rest: Option<Sender<Incoming>>,
    /// In place of what came.
    whole: Option<Bytes>,
    /// `None` where it may be silent.
    patience: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes since the timer was set.
    moved: usize,
}

impl Upload {
    /// A body that is known whole, in place of one that was read.
    pub fn whole(bytes: Bytes) -> Self {
        Self {
            inner: None,
            rest: None,
            whole: Some(bytes).filter(|bytes| !bytes.is_empty()),
            patience: None,
            timer: None,
            moved: 0,
        }
    }

    /// `rest`: for HTTP/2, the connection's own collection of bodies that were given up.
    pub(crate) fn of(request: Request<Incoming>, patience: Duration, rest: Option<&Sender<Incoming>>) -> Request<Self> {
        // The one look at a header here: a stream of messages has a rhythm of its own.
        let kind = request.headers().get(CONTENT_TYPE);
        let streams = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        request.map(|body| Self {
            rest: rest.filter(|_| !body.is_end_stream()).cloned(),
            inner: Some(body),
            whole: None,
            patience: (!streams).then_some(patience),
            timer: None,
            moved: 0,
        })
    }

    /// The same body, which must make progress in each such span whatever it is.
    pub fn hurried(self, patience: Duration) -> Self {
        let mut hurried = self;
        hurried.patience = Some(patience);
        hurried
    }

    /// Whether the client has been too slow for a whole span.
    fn stalled(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(span) = self.patience else { return false };
        loop {
            let moved = &mut self.moved;
            let timer = self.timer.get_or_insert_with(|| {
                *moved = 0;
                Box::pin(tokio::time::sleep(span))
            });
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            if self.moved < PROGRESS {
                return true;
            }
            self.timer = None;
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(self.whole.take().map(|bytes| Ok(Frame::data(bytes))));
        };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.moved = self.moved.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                // Its end was not noticed: whoever reads was away meanwhile, and that is not the client's fault.
                self.timer = self.timer.take().filter(|timer| !timer.is_elapsed());
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(end) => {
                self.rest = None;
                Poll::Ready(end.map(|error| error.map_err(UploadError::Broken)))
            }
            Poll::Pending if self.stalled(cx) => {
                self.rest = None;
                Poll::Ready(Some(Err(UploadError::Stalled)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Some(inner) => inner.is_end_stream(),
            None => self.whole.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let known = self.whole.as_ref().map_or(0, Bytes::len) as u64;
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(known), Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(rest), Some(inner)) = (self.rest.take(), self.inner.take())
            && !inner.is_end_stream()
        {
            // The connection may be gone: then there is nothing to read. Or there is no place: then the stream is reset now.
            let _ = rest.try_send(inner);
        }
    }
}

/// Reads up to `limit` further bytes of a body, within a second, and forgets them.
pub(crate) async fn read_on(mut body: Incoming, limit: u64) {
    let reading = async {
        let mut left = limit;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // In time or not, the stream may end now.
    let _ = timeout(PATIENCE, reading).await;
}
