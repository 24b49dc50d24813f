//! The body of a streamed call as it comes from a peer.
//!
//! One idea: messages are taken off the transport one by one and only when somebody wants the body; their pieces are
//! slices of the buffer that they came in. Must never hand out a piece out of order, nor take a stream for complete that
//! ended with an error.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use palladium_http::Budget;
use tonic::{Code, Status};

use super::pool::Lease;
use super::wire::{FrameError, Streamed, Unframe};
use crate::http::BoxError;

/// Answers that are said to be no longer, in bytes, are handed on in one piece.
const SHORT: u64 = 16 << 10;

/// Messages on a transport's body.
#[derive(Debug)]
pub struct Messages<B> {
    body: B,
    unframe: Unframe,
    trailers: Option<HeaderMap>,
    ended: bool,
}

/// Why there is no next message.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Bad framing.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// Bytes that are no message.
    #[error("a message cannot be read: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The connection broke.
    #[error("error receiving message: {0}")]
    Transport(#[source] BoxError),
    /// The pieces are not in order, or something stands where it may not.
    #[error("{0}")]
    Order(String),
    /// The peer ended the call with an error.
    #[error("error receiving message: rpc error: code = {:?} desc = {}", .0.code(), .0.message())]
    Status(Box<Status>),
}

impl<B> Messages<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// `limit`: greatest message in bytes. What is held of them counts against `budget`.
    pub fn new(body: B, limit: usize, budget: &Budget) -> Self {
        Self {
            body,
            unframe: Unframe::new(limit, budget),
            trailers: None,
            ended: false,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ReadError>> {
        loop {
            if let Some(message) = self.unframe.next()? {
                return Poll::Ready(Ok(Some(message)));
            }
            if self.ended {
                self.unframe.finish()?;
                return Poll::Ready(Ok(None));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => self.ended = true,
                Some(Err(error)) => return Poll::Ready(Err(ReadError::Transport(error.into()))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.unframe.push(data)?,
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The only message of a call that has one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn only<M: prost::Message + Default>(&mut self) -> Result<Option<M>, ReadError> {
        let Some(message) = self.next().await? else {
            return Ok(None);
        };
        let message = M::decode(message)?;
        // Trailers, which tell how the call ended.
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|error| ReadError::Transport(error.into()))?;
            if let Ok(trailers) = frame.into_trailers() {
                self.trailers = Some(trailers);
            }
        }
        self.ended = true;
        Ok(Some(message))
    }

    /// What came behind the last message.
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    /// How the peer says that the call ended; only known at its end. No word is an error of the protocol.
    pub fn status(&self) -> Status {
        match self.trailers.as_ref().and_then(Status::from_header_map) {
            Some(status) => status,
            None => Status::new(Code::Internal, "server closed the stream without sending trailers"),
        }
    }

    /// Whether nothing more can come, as far as is known without waiting.
    fn is_end(&self) -> bool {
        (self.ended || self.body.is_end_stream()) && self.unframe.finish().is_ok()
    }
}

/// The pieces of a body, in order, as a body.
#[derive(Debug)]
pub struct Payloads<B, M> {
    messages: Messages<B>,
    /// Came with the head.
    first: Option<Bytes>,
    /// Came with a look at whether that is all.
    second: Option<Bytes>,
    expected: u64,
    left: Option<u64>,
    /// Whether the other side is a server, which ends a call by a status.
    from_server: bool,
    done: bool,
    /// Found out before anybody asked.
    failed: Option<ReadError>,
    _lease: Option<Lease>,
    _message: std::marker::PhantomData<fn() -> M>,
}

impl<B, M> Payloads<B, M>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    M: Streamed,
{
    /// What follows `first`, the message with the head. `length`: of the whole body, if known. `lease`: for an answer:
    /// the place on its connection.
    ///
    /// # Errors
    /// When `first` is not in order.
    pub fn new(messages: Messages<B>, first: M, length: Option<u64>, lease: Option<Lease>) -> Result<Self, ReadError> {
        let mut payloads = Self {
            messages,
            first: None,
            second: None,
            expected: 0,
            left: length,
            from_server: lease.is_some(),
            done: false,
            failed: None,
            _lease: lease,
            _message: std::marker::PhantomData,
        };
        payloads.first = payloads.take(first)?;
        Ok(payloads)
    }

    fn take(&mut self, message: M) -> Result<Option<Bytes>, ReadError> {
        let payload = message
            .into_payload()
            .map_err(|words| ReadError::Order(words.to_owned()))?;
        let Some(payload) = payload else { return Ok(None) };
        if payload.seq != self.expected {
            return Err(ReadError::Order(format!(
                "invalid sequence number received: {} (expected: {})",
                payload.seq, self.expected
            )));
        }
        self.expected += 1;
        Ok((!payload.data.is_empty()).then_some(payload.data))
    }

    /// Whether the body is known to be empty, or has nothing more.
    pub fn is_over(&self) -> bool {
        self.first.is_none() && (self.done || self.left == Some(0) || (!self.from_server && self.messages.is_end()))
    }

    /// Waits for the first piece or the end.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn peek(&mut self) -> Result<(), ReadError> {
        if self.first.is_none() && !self.is_over() {
            self.first = std::future::poll_fn(|cx| self.poll_piece(cx)).await?;
        }
        Ok(())
    }

    /// The whole body of an answer, if all of it is there without waiting, or it is said to be short: then it is waited
    /// for, so that whoever reads it is told its length. `length`: of the body, if known. Otherwise nothing is lost.
    ///
    /// # Errors
    /// When a short body does not come, or is longer than was said.
    pub async fn whole(&mut self, length: Option<u64>) -> Result<Option<Bytes>, ReadError> {
        match length {
            Some(short @ ..=SHORT) => self.short(short).await.map(Some),
            _ => {
                let there = self.there();
                if there.is_none() {
                    self.left = length;
                }
                Ok(there)
            }
        }
    }

    async fn short(&mut self, length: u64) -> Result<Bytes, ReadError> {
        let mut whole = Bytes::new();
        while let Some(piece) = std::future::poll_fn(|cx| self.poll_piece(cx)).await? {
            if (whole.len() + piece.len()) as u64 > length {
                return Err(ReadError::Order("the body is longer than was said".to_owned()));
            }
            whole = if whole.is_empty() {
                piece
            } else {
                [whole, piece].concat().into()
            };
        }
        Ok(whole)
    }

    /// All of it, if it is there; otherwise nothing is lost.
    fn there(&mut self) -> Option<Bytes> {
        let first = self.first.take();
        let mut cx = Context::from_waker(Waker::noop());
        match self.poll_piece(&mut cx) {
            Poll::Ready(Ok(None)) => return Some(first.unwrap_or_default()),
            Poll::Ready(Ok(Some(next))) => {
                let mut pieces = first.into_iter().chain([next]);
                (self.first, self.second) = (pieces.next(), pieces.next());
            }
            // An error comes up again at the next look.
            Poll::Ready(Err(error)) => (self.first, self.failed) = (first, Some(error)),
            Poll::Pending => self.first = first,
        }
        None
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ReadError>> {
        if let Some(first) = self.first.take() {
            self.first = self.second.take();
            return Poll::Ready(Ok(Some(first)));
        }
        if let Some(error) = self.failed.take() {
            self.done = true;
            return Poll::Ready(Err(error));
        }
        while !self.done {
            let Some(message) = ready!(self.messages.poll_next(cx))? else {
                self.done = true;
                if self.from_server {
                    let status = self.messages.status();
                    if status.code() != Code::Ok {
                        return Poll::Ready(Err(ReadError::Status(Box::new(status))));
                    }
                }
                break;
            };
            let message = M::decode(message)?;
            if let Some(data) = self.take(message)? {
                return Poll::Ready(Ok(Some(data)));
            }
        }
        Poll::Ready(Ok(None))
    }
}

impl<B, M> HttpBody for Payloads<B, M>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    M: Streamed + Unpin,
{
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        let this = self.get_mut();
        let piece = ready!(this.poll_piece(cx));
        if let (Ok(Some(data)), Some(left)) = (&piece, &mut this.left) {
            *left = left.saturating_sub(data.len() as u64);
        }
        Poll::Ready(piece.transpose().map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use palladium_proto::common::StreamPayload;

    use super::*;
    use crate::invoke::wire::{StreamedResponse, framed};

    /// Comes piece by piece; before each one it is waited for.
    struct Slow(VecDeque<Bytes>, bool);

    impl HttpBody for Slow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let this = self.get_mut();
            this.1 = !this.1;
            if this.1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(this.0.pop_front().map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    fn payloads(pieces: &[&'static str]) -> Payloads<Slow, StreamedResponse> {
        let frames = (0..).zip(pieces).map(|(seq, piece)| {
            let data = Bytes::from_static(piece.as_bytes());
            let payload = Some(StreamPayload { data, seq });
            framed(&StreamedResponse { head: None, payload })
        });
        let messages = Messages::new(Slow(frames.collect(), false), 1 << 20, &Budget::new(1 << 20));
        let payloads = Payloads::new(messages, StreamedResponse::default(), None, None);
        payloads.expect("in order")
    }

    #[tokio::test]
    async fn a_short_body_is_waited_for_and_one_of_unknown_length_is_not() {
        let whole = payloads(&["ab", "c"]).whole(Some(3)).await.expect("sound");
        assert_eq!(whole.as_deref(), Some(&b"abc"[..]));
        // It ended in order, with less than was said: the peer's word about its end counts.
        let whole = payloads(&["ab"]).whole(Some(3)).await.expect("sound");
        assert_eq!(whole.as_deref(), Some(&b"ab"[..]));
        let longer = payloads(&["ab", "cd"]).whole(Some(3)).await;
        assert!(matches!(longer, Err(ReadError::Order(_))), "{longer:?}");
        for length in [None, Some(SHORT + 1)] {
            let mut payloads = payloads(&["ab", "c"]);
            assert_eq!(payloads.whole(length).await.expect("sound"), None);
            assert_eq!(payloads.size_hint().exact(), length);
            let read = payloads.collect().await.expect("sound").to_bytes();
            assert_eq!(read, "abc", "nothing is lost");
        }
    }
}
