//! The body of a streamed call on its way to a peer.
//!
//! One idea: the head waits for the first piece only if that piece is there already, so that a short call is one frame and
//! a slow one loses no time. Must never hold more than one frame of the body.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame};
use tonic::{Code, Status};

use super::wire::put_chunks;
use crate::http::{Body, BoxError};

/// A head and a body as messages; towards a client, a status behind them.
#[derive(Debug)]
pub struct Chunks {
    head: Option<Bytes>,
    source: Body,
    sequence: u64,
    /// Whether this is an answer, which ends with a status.
    answers: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Body,
    Status,
    Done,
}

impl Chunks {
    /// A request. `head`: made by [`super::wire::head_field`].
    pub fn request(head: Bytes, source: Body) -> Self {
        Self::new(head, source, false)
    }

    /// An answer.
    pub fn answer(head: Bytes, source: Body) -> Self {
        Self::new(head, source, true)
    }

    fn new(head: Bytes, source: Body, answers: bool) -> Self {
        Self {
            head: Some(head),
            source,
            sequence: 0,
            answers,
            state: State::Body,
        }
    }

    /// Whether all of the body is here.
    pub fn is_here(&self) -> bool {
        self.source.is_here()
    }

    /// The body, if nothing of it was taken.
    pub fn into_source(self) -> Option<Body> {
        self.head.is_some().then_some(self.source)
    }

    fn chunks(&mut self, data: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        put_chunks(&mut out, self.head.take().as_ref(), data, &mut self.sequence);
        out.freeze()
    }

    fn end(&mut self) {
        self.state = if self.answers { State::Status } else { State::Done };
    }

    fn status(&mut self, status: &Status) -> Frame<Bytes> {
        self.state = State::Done;
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert("grpc-status", HeaderValue::from(Code::Unknown as i32));
        }
        Frame::trailers(trailers)
    }
}

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            match this.state {
                State::Done => return Poll::Ready(None),
                State::Status => return Poll::Ready(Some(Ok(this.status(&Status::new(Code::Ok, ""))))),
                State::Body => {}
            }
            let polled = Pin::new(&mut this.source).poll_frame(cx);
            let frame = match polled {
                Poll::Pending if this.head.is_some() => return Poll::Ready(Some(Ok(Frame::data(this.chunks(&[]))))),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(frame) => frame,
            };
            match frame {
                None => {
                    this.end();
                    if this.head.is_some() {
                        return Poll::Ready(Some(Ok(Frame::data(this.chunks(&[])))));
                    }
                }
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if data.is_empty() {
                        continue;
                    }
                    if this.source.is_end_stream() {
                        this.end();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(this.chunks(&data)))));
                }
                Some(Err(error)) if this.answers => {
                    let status = Status::new(Code::Unknown, error.to_string());
                    return Poll::Ready(Some(Ok(this.status(&status))));
                }
                Some(Err(error)) => {
                    this.state = State::Done;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Done
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use palladium_http::Budget;
    use prost::Message as _;

    use super::*;
    use crate::invoke::wire::{Request, StreamedRequest, Unframe, head_field};

    fn head() -> Bytes {
        head_field(&Request {
            version: 1,
            ..Request::default()
        })
    }

    #[tokio::test]
    async fn a_short_request_is_one_frame_and_an_answer_ends_with_a_status() {
        let mut request = Chunks::request(head(), Body::from("hello"));
        let frame = request
            .frame()
            .await
            .expect("one")
            .expect("good")
            .into_data()
            .expect("data");
        assert!(request.is_end_stream());
        let mut unframe = Unframe::new(100, &Budget::new(100));
        unframe.push(frame).expect("room");
        let message = unframe.next().expect("well formed").expect("whole");
        let message = StreamedRequest::decode(message).expect("readable");
        assert!(message.head.is_some_and(|head| head.version == 1));
        assert_eq!(message.payload.expect("piece").data, "hello");

        let collected = Chunks::answer(head(), Body::Empty).collect().await.expect("good");
        assert_eq!(collected.trailers().expect("some")["grpc-status"], "0");
        assert!(!collected.to_bytes().is_empty());
    }
}
