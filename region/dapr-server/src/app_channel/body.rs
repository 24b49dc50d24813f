//! The body of an application's answer.
//!
//! One idea: a call is over when its answer has been read to its end or given up, so its place among the calls that the
//! application takes at a time is kept until then. Must never keep it longer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use crate::http::BoxError;

/// See the module.
#[derive(Debug)]
pub struct AppBody {
    inner: Incoming,
    place: Option<OwnedSemaphorePermit>,
}

impl AppBody {
    pub(super) fn new(inner: Incoming, place: Option<OwnedSemaphorePermit>) -> Self {
        let place = place.filter(|_| !inner.is_end_stream());
        Self { inner, place }
    }
}

impl Body for AppBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.inner.is_end_stream() {
            self.place = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
