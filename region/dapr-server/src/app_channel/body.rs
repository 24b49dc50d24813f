//! The body of an application's answer.
//!
//! One idea: a call is over when its answer has been read to its end or given up, so its place among the calls that the
//! application takes at a time is kept until then. Its own word about the length is not passed on: one that sends less than
//! it announced has still answered, as with the original. Must never keep a place longer.

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
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Err(error)) if is_short(&error) => None,
            frame => frame,
        };
        if !matches!(frame, Some(Ok(_))) || self.inner.is_end_stream() {
            self.place = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Whether a body ended before the length that was announced.
fn is_short(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::UnexpectedEof)
}
