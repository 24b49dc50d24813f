//! One request's hold on a connection. Dropping it without [`Lease::give_back`] closes an HTTP/1.1 connection and
//! frees an HTTP/2 stream: a connection in an unknown state is never used again.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;

use super::Pool;
use super::pool::Stream;
use crate::body::RequestBody;

pub(super) enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(Stream),
}

/// A connection, or a stream of one, for one request.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    sender: Sender,
}

/// What came of sending.
pub(crate) enum Sent {
    /// The head of an answer.
    Answer(Response<Incoming>),
    /// Not a byte of the request left; here it is again.
    Returned(Box<Request<RequestBody>>),
    /// The connection broke after the request, or a part of it, had left: nobody knows what became of it.
    Lost,
}

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, sender: Sender) -> Self {
        Self { pool, sender }
    }

    /// Sends and waits for the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<RequestBody>) -> Sent {
        let outcome = match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(stream) => stream.sender().try_send_request(request).await,
        };
        match outcome {
            Ok(answer) => Sent::Answer(answer),
            Err(mut error) => match error.take_message() {
                Some(request) => {
                    if let Sender::Http2(stream) = &self.sender {
                        stream.leave();
                    }
                    Sent::Returned(Box::new(request))
                }
                None => {
                    tracing::debug!(error = %error.error(), "request lost on the way to its Dapr Server");
                    Sent::Lost
                }
            },
        }
    }

    /// The answer is complete. `request_finished`: so is the request; if not, an HTTP/1.1 connection is closed.
    pub(crate) fn give_back(self, request_finished: bool) {
        if let Sender::Http1(sender) = self.sender
            && request_finished
        {
            self.pool.put_idle(sender);
        }
    }
}
