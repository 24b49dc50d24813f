//! The answer of a gRPC call on its way out.
//!
//! One idea: a message is encoded in one piece, so it counts against the budget of the process until the caller has taken
//! it; where there is no room for it the call ends with that status in place of the message. Must never hold a second one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use palladium_http::Budget;
use prometheus::Histogram;
use tonic::Status;

use crate::errors::{Fault, grpc_status};
use crate::metrics::message_bytes;

/// See the module.
#[derive(Debug)]
pub struct Message {
    inner: tonic::body::Body,
    budget: Budget,
    /// What counts the message; gone with it.
    sent: Option<Histogram>,
    /// The status is said.
    over: bool,
}

impl Message {
    pub(super) fn new(inner: tonic::body::Body, budget: &Budget, sent: Option<Histogram>) -> Self {
        Self {
            inner,
            budget: budget.clone(),
            sent,
            over: false,
        }
    }
}

impl Body for Message {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let data = match frame?.into_data() {
            Ok(data) => data,
            Err(other) => return Poll::Ready(Some(Ok(other))),
        };
        if let Some(sent) = self.sent.take() {
            sent.observe(message_bytes(data.len()));
        }
        Poll::Ready(Some(Ok(match self.budget.tie(data) {
            Ok(data) => Frame::data(data),
            Err(_) => {
                self.over = true;
                let mut trailers = HeaderMap::new();
                // Plain words always fit into a header.
                let _ = grpc_status(&Fault::busy().report).add_header(&mut trailers);
                Frame::trailers(trailers)
            }
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.over {
            SizeHint::with_exact(0)
        } else {
            self.inner.size_hint()
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_message_without_room_becomes_a_status() {
        let budget = Budget::new(10);
        let message = || {
            let inner = http_body_util::Full::new(Bytes::from_static(b"seven.."));
            Message::new(tonic::body::Body::new(inner), &budget, None)
        };
        let taken = message().collect().await.expect("room").to_bytes();
        assert_eq!(taken.len(), 7);
        let refused = message().collect().await.expect("a status");
        let trailers = refused.trailers().expect("trailers");
        assert_eq!(trailers["grpc-status"], "8");
        drop(taken);
        assert!(budget.is_unused());
    }
}
