//! Bodies: what we answer with, and how a request's body is read with a limit.
//!
//! Must never hold more of a request than the limit, nor copy a body that came in one piece.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use palladium_http::{Metered, Passing, Upload};
use tokio::sync::OwnedSemaphorePermit;

use crate::app_channel::AppBody;
use crate::errors::Fault;
use crate::grpc::Message;
use crate::invoke::{Chunks, Lease, Payloads, Recorded, StreamedRequest, StreamedResponse, Watched};
use crate::pipeline::Kept;

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body: whoever reads it is counted against the budget of the process.
pub type Incoming = Metered<Upload>;

/// The body of an answer, or of a request to the application.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// All of it.
    Full(Option<Bytes>),
    /// As it comes from the application.
    Answer(AppBody),
    /// As it comes from a caller, up to the limit.
    Limited(Limited<Passing<Upload>>),
    /// As it comes from an HTTP endpoint.
    Outside(Passing<hyper::body::Incoming>),
    /// From a gRPC service.
    Grpc(Message),
    /// As it comes from a caller, whatever its length.
    Upload(Passing<Upload>),
    /// As it comes from a caller, kept for being sent once more.
    Recorded(Box<Recorded>),
    /// As it comes on a shared connection, whose place it keeps, as well as that among an application's calls.
    Leased(hyper::body::Incoming, Lease, Option<OwnedSemaphorePermit>),
    /// One gRPC message and what stands behind it.
    Message(Option<Bytes>, Option<HeaderMap>),
    /// A streamed call on its way.
    Chunks(Box<Chunks>),
    /// The answer of a streamed call.
    FromPeer(Box<Payloads<hyper::body::Incoming, StreamedResponse>>),
    /// The body of a peer's streamed call.
    FromCaller(Box<Payloads<Upload, StreamedRequest>>),
    /// Any of these, behind its first piece, which was looked at.
    Begun(Option<Bytes>, Box<Self>),
    /// Any of these, which says why it broke.
    Watched(Box<Watched>),
    /// Any of these, whose end pieces of a pipeline wait for.
    Kept(Box<Kept>),
}

impl Body {
    /// The same body once more, if all of it is here.
    pub fn copy(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Full(bytes) => Some(Self::Full(bytes.clone())),
            _ => None,
        }
    }

    /// Whether all of it is here, so that nothing can happen to it.
    pub fn is_here(&self) -> bool {
        match self {
            Self::Empty | Self::Full(_) | Self::Message(..) => true,
            Self::Chunks(chunks) => chunks.is_here(),
            _ => false,
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Full(Some(bytes.into()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Answer(body) => Pin::new(body).poll_frame(cx),
            Self::Limited(body) => Pin::new(body).poll_frame(cx),
            Self::Outside(body) => Pin::new(body).poll_frame(cx),
            Self::Grpc(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Upload(body) => Pin::new(body).poll_frame(cx),
            Self::Recorded(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::Leased(body, ..) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Message(message, trailers) => {
                let frame = message.take().map(Frame::data);
                Poll::Ready(frame.or_else(|| trailers.take().map(Frame::trailers)).map(Ok))
            }
            Self::Chunks(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::FromPeer(body) => Pin::new(body.as_mut()).poll_frame(cx).map_err(Into::into),
            Self::FromCaller(body) => Pin::new(body.as_mut()).poll_frame(cx).map_err(Into::into),
            Self::Begun(first, rest) => match first.take() {
                Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
                None => Pin::new(rest.as_mut()).poll_frame(cx),
            },
            Self::Watched(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::Kept(body) => Pin::new(body.as_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_none(),
            Self::Answer(body) => body.is_end_stream(),
            Self::Limited(body) => body.is_end_stream(),
            Self::Outside(body) => body.is_end_stream(),
            Self::Grpc(body) => body.is_end_stream(),
            Self::Upload(body) => body.is_end_stream(),
            Self::Recorded(body) => body.is_end_stream(),
            Self::Leased(body, ..) => body.is_end_stream(),
            Self::Message(message, trailers) => message.is_none() && trailers.is_none(),
            Self::Chunks(body) => body.is_end_stream(),
            Self::FromPeer(body) => body.is_end_stream(),
            Self::FromCaller(body) => body.is_end_stream(),
            Self::Begun(first, rest) => first.is_none() && rest.is_end_stream(),
            Self::Watched(body) => body.is_end_stream(),
            Self::Kept(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Answer(body) => body.size_hint(),
            Self::Limited(body) => body.size_hint(),
            Self::Outside(body) => body.size_hint(),
            Self::Grpc(body) => body.size_hint(),
            Self::Upload(body) => body.size_hint(),
            Self::Recorded(body) => body.size_hint(),
            Self::Leased(body, ..) => body.size_hint(),
            Self::Message(..) | Self::Chunks(_) | Self::Begun(..) => SizeHint::default(),
            Self::FromPeer(body) => body.size_hint(),
            Self::FromCaller(body) => body.size_hint(),
            Self::Watched(body) => body.size_hint(),
            Self::Kept(body) => body.size_hint(),
        }
    }
}

/// Reads a body whole.
///
/// # Errors
/// When it is longer than `limit` bytes, ends early or stalls, or when there is no room for it.
pub(crate) async fn read<B>(body: B, limit: usize) -> Result<Bytes, Fault>
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
{
    let too_large = || Fault::unreadable("stream too large");
    if usize::try_from(body.size_hint().lower()).is_ok_and(|length| length > limit) {
        return Err(too_large());
    }
    joined(Limited::new(body, limit)).await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return too_large();
        }
        Fault::of_body(&error).unwrap_or_else(|| Fault::unreadable(error))
    })
}

/// Reads a body to its end. What is left of its pieces is one copy of them, or the only one itself.
///
/// # Errors
/// The body's.
pub(crate) async fn joined<B>(mut body: B) -> Result<Bytes, BoxError>
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
{
    let mut first = Bytes::new();
    let mut more: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        match &mut more {
            Some(more) => more.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let mut joined = BytesMut::with_capacity(2 * (first.len() + data.len()));
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&data);
                first = Bytes::new();
                more = Some(joined);
            }
        }
    }
    Ok(more.map_or(first, BytesMut::freeze))
}
