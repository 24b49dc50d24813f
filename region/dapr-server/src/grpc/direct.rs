//! The methods that applications call for each request of their own, when there is nothing unusual about a call.
//!
//! One idea: a message that came whole, in one frame at the end of its stream, needs no stream, no buffer and no decoder to
//! wait with, and its answer neither; anything else (compressed, in pieces, too long, badly framed) is put back as it was read
//! and given to the gRPC library, which has the words for it. Must never decide what a call means, nor answer otherwise than
//! the library would.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use palladium_proto::runtime::dapr_server::Dapr as _;
use prometheus::Histogram;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::dapr::Api;
use crate::errors::{Fault, grpc_status};
use crate::http::{Body, BoxError};
use crate::invoke::{PREFIX, answered, first_length, framed};
use crate::metrics::message_bytes;

/// The methods that are answered here: those that applications call most. Each further one is a variant, a name in `of` and an
/// arm in `answer`; not `InvokeService` or `InvokeBinding`, which answer with metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    GetState,
    SaveState,
    PublishEvent,
}

impl Method {
    fn of(name: &str) -> Option<Self> {
        match name {
            "GetState" => Some(Self::GetState),
            "SaveState" => Some(Self::SaveState),
            "PublishEvent" => Some(Self::PublishEvent),
            _ => None,
        }
    }
}

/// A call, looked at.
pub(super) enum Looked<B: HttpBody> {
    /// All of it is here: its head and its message without the prefix.
    Whole(Method, Request<Bytes>),
    /// As it was.
    Other(Request<Begun<B>>),
}

/// Reads the first frame of a call of one of these methods, and the one behind it that only ends the stream where there is
/// one, as many clients send it. `longest`: greatest message in bytes.
pub(super) async fn look<B>(method: &str, request: Request<B>, longest: usize) -> Looked<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let (head, mut body) = request.into_parts();
    let Some(method) = Method::of(method).filter(|_| !head.headers.contains_key("grpc-encoding")) else {
        return other(head, [None, None], body);
    };
    let first = match body.frame().await {
        Some(Ok(frame)) => frame,
        first => return other(head, [first, None], body),
    };
    let message = match first.into_data() {
        Ok(data) if is_message(&data, longest) => data,
        Ok(data) => return other(head, [Some(Ok(Frame::data(data))), None], body),
        Err(trailers) => return other(head, [Some(Ok(trailers)), None], body),
    };
    if !body.is_end_stream() {
        let second = body.frame().await;
        let is_end = match &second {
            None => true,
            Some(Ok(frame)) => frame.data_ref().is_some_and(Bytes::is_empty) && body.is_end_stream(),
            Some(Err(_)) => false,
        };
        if !is_end {
            return other(head, [Some(Ok(Frame::data(message))), second], body);
        }
    }
    Looked::Whole(method, Request::from_parts(head, message.slice(PREFIX..)))
}

fn other<B: HttpBody>(head: request::Parts, read: [Option<Result<Frame<Bytes>, B::Error>>; 2], rest: B) -> Looked<B> {
    Looked::Other(Request::from_parts(head, Begun { read, rest }))
}

/// Whether this is one message and nothing else.
fn is_message(data: &[u8], longest: usize) -> bool {
    matches!(first_length(data, longest), Ok(Some(length)) if data.len() == PREFIX + length)
}

/// Answers a call of one of these methods. `sent`: what counts the answer's message.
///
/// # Errors
/// The method's, and when there is no room for its answer.
pub(super) async fn answer(
    api: &Api,
    method: Method,
    request: Request<Bytes>,
    sent: &Histogram,
) -> Result<Response<Body>, Status> {
    match method {
        Method::GetState => written(api, sent, &api.get_state(read(request)?).await?),
        Method::SaveState => written(api, sent, &api.save_state(read(request)?).await?),
        Method::PublishEvent => written(api, sent, &api.publish_event(read(request)?).await?),
    }
}

fn read<M: prost::Message + Default>(request: Request<Bytes>) -> Result<tonic::Request<M>, Status> {
    let (head, message) = request.into_parts();
    // The words of the library.
    let message = M::decode(message).map_err(|error| Status::internal(error.to_string()))?;
    let metadata = MetadataMap::from_headers(head.headers);
    Ok(tonic::Request::from_parts(metadata, head.extensions, message))
}

fn written<M: prost::Message>(
    api: &Api,
    sent: &Histogram,
    answer: &tonic::Response<M>,
) -> Result<Response<Body>, Status> {
    // None of these methods answers with metadata.
    let message = framed(answer.get_ref());
    sent.observe(message_bytes(message.len()));
    // It counts until the caller has taken it.
    let tied = api.0.budget.tie(message);
    tied.map(answered).map_err(|_| grpc_status(&Fault::busy().report))
}

/// A body whose first frames were looked at.
pub(super) struct Begun<B: HttpBody> {
    read: [Option<Result<Frame<Bytes>, B::Error>>; 2],
    rest: B,
}

impl<B> HttpBody for Begun<B>
where
    B: HttpBody<Data = Bytes, Error = BoxError> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.read.iter_mut().find_map(Option::take) {
            None => Pin::new(&mut self.rest).poll_frame(cx),
            read => Poll::Ready(read),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.iter().all(Option::is_none) && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // The library does not ask.
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests;
