//! A request's body, and what becomes of one that nobody reads to its end.
//!
//! One idea: an answer may come before the request is whole (a bad token, a body that is too large), and a client that is
//! still sending must hear it all the same. HTTP/2 would reset the stream right behind the answer, and some clients (curl)
//! lose the answer by it. So a body that is given up goes back to its connection, which reads on for a moment
//! ([`read_on`]); most are whole by then and nothing is reset. HTTP/1.1 ends the connection instead; there `io` lingers.
//! Must never read on without a bound of bytes and time, nor longer than the connection lives.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::Request;
use hyper::body::Incoming;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

/// How long the rest of a body that was given up is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A request's body as it comes. Dropping it early is fine.
#[derive(Debug)]
pub struct Upload {
    /// `None` only while it is dropped.
    inner: Option<Incoming>,
    /// Where to leave it; `None` when there is nothing to read on for.
    rest: Option<Sender<Incoming>>,
    /// In place of what came.
    whole: Option<Bytes>,
}

impl Upload {
    /// A body that is known whole, in place of one that was read.
    pub fn whole(bytes: Bytes) -> Self {
        Self {
            inner: None,
            rest: None,
            whole: Some(bytes).filter(|bytes| !bytes.is_empty()),
        }
    }

    /// `rest`: for HTTP/2, the connection's own collection of bodies that were given up.
    pub(crate) fn of(request: Request<Incoming>, rest: Option<&Sender<Incoming>>) -> Request<Self> {
        request.map(|body| Self {
            rest: rest.filter(|_| !body.is_end_stream()).cloned(),
            inner: Some(body),
            whole: None,
        })
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(self.whole.take().map(|bytes| Ok(Frame::data(bytes))));
        };
        let polled = Pin::new(inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.rest = None;
        }
        polled
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
