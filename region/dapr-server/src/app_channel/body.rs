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
use crate::pipeline::Ending;

/// In bytes.
const SHORT: u64 = 16 << 10;

/// See the module.
#[derive(Debug)]
pub struct AppBody {
    inner: Incoming,
    place: Option<OwnedSemaphorePermit>,
    ending: Option<Ending>,
}

impl AppBody {
    pub(super) fn new(inner: Incoming, place: Option<OwnedSemaphorePermit>) -> Self {
        let place = place.filter(|_| !inner.is_end_stream());
        let ending = None;
        Self { inner, place, ending }
    }

    /// The same, for those who want to know when it has ended.
    pub(super) fn watched(mut self, ending: Ending) -> Self {
        self.ending = Some(ending).filter(|_| !self.inner.is_end_stream());
        self
    }

    /// Whether the application says that there is little to come, so that it can be waited for.
    pub(super) fn is_short(&self) -> bool {
        let announced = self.inner.size_hint().exact();
        announced.is_some_and(|length| (1..=SHORT).contains(&length))
    }
}

impl Body for AppBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Err(error)) if ended_early(&error) => None,
            frame => frame,
        };
        if !matches!(frame, Some(Ok(_))) || self.inner.is_end_stream() {
            self.place = None;
            self.ending = None;
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
fn ended_early(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::UnexpectedEof)
}
