//! The methods that applications call for each request of their own, when there is nothing unusual about a call.
//!
//! One idea: a message that came whole, in one frame at the end of its stream, needs no stream, no buffer and no decoder to
//! wait with, and its answer neither; anything else (compressed, in pieces, too long, badly framed) is put back as it was read
//! and given to the gRPC library, which has the words for it. Must never decide what a call means, nor answer otherwise than
//! the library would.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use palladium_proto::runtime::dapr_server::Dapr as _;
use prometheus::Histogram;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::dapr::Api;
use crate::errors::{Fault, grpc_status};
use crate::http::{Body, BoxError};
use crate::invoke::{PREFIX, first_length, framed, refused};
use crate::metrics::message_bytes;

/// The methods that are answered here: those that applications call most. Each further one is one more arm.
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
pub(super) async fn answer(api: &Api, method: Method, request: Request<Bytes>, sent: &Histogram) -> Response<Body> {
    let answered = match method {
        Method::GetState => match read(request) {
            Ok(request) => written(api, sent, api.get_state(request).await),
            Err(status) => Err(status),
        },
        Method::SaveState => match read(request) {
            Ok(request) => written(api, sent, api.save_state(request).await),
            Err(status) => Err(status),
        },
        Method::PublishEvent => match read(request) {
            Ok(request) => written(api, sent, api.publish_event(request).await),
            Err(status) => Err(status),
        },
    };
    answered.unwrap_or_else(|status| refused(&status))
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
    answer: Result<tonic::Response<M>, Status>,
) -> Result<Response<Body>, Status> {
    // None of these methods answers with metadata.
    let message = framed(&answer?.into_inner());
    sent.observe(message_bytes(message.len()));
    // It counts until the caller has taken it.
    let tied = api.0.budget.tie(message);
    let message = tied.map_err(|_| grpc_status(&Fault::busy().report))?;
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut answer = Response::new(Body::Message(Some(message), Some(trailers)));
    let kind = HeaderValue::from_static("application/grpc");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    Ok(answer)
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
mod tests {
    use std::collections::VecDeque;

    use palladium_http::Upload;
    use palladium_proto::runtime::{GetStateRequest, GetStateResponse};
    use prost::Message as _;
    use tonic::Code;

    use super::super::{Services, handle};
    use super::*;
    use crate::testing;

    /// Frames as they come on a stream.
    struct Frames(VecDeque<Bytes>);

    impl HttpBody for Frames {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    fn message() -> Bytes {
        framed(&GetStateRequest {
            store_name: "statestore".to_owned(),
            key: "a".to_owned(),
            ..Default::default()
        })
    }

    async fn looked(frames: &[Bytes], encoding: Option<&str>, longest: usize) -> Looked<Frames> {
        let mut request = Request::new(Frames(frames.iter().cloned().collect()));
        if let Some(encoding) = encoding {
            let value = HeaderValue::from_str(encoding).expect("plain");
            request.headers_mut().insert("grpc-encoding", value);
        }
        look("GetState", request, longest).await
    }

    #[tokio::test]
    async fn only_one_plain_message_in_one_frame_is_taken_and_all_else_is_put_back_as_it_was() {
        let whole = message();
        for frames in [vec![whole.clone()], vec![whole.clone(), Bytes::new()]] {
            match looked(&frames, None, 100).await {
                Looked::Whole(_, request) => assert_eq!(request.body(), &whole.slice(PREFIX..)),
                Looked::Other(_) => panic!("nothing is unusual about it: {frames:?}"),
            }
        }
        let mut compressed = whole.to_vec();
        compressed[0] = 1;
        let pieces = [whole.slice(..3), whole.slice(3..)];
        let with_more = Bytes::from([&whole[..], b"more"].concat());
        for (frames, encoding, longest) in [
            (vec![], None, 100),
            (vec![whole.slice(..4)], None, 100),
            (vec![whole.slice(..9)], None, 100),
            (vec![with_more], None, 100),
            (vec![Bytes::from(compressed)], None, 100),
            (pieces.to_vec(), None, 100),
            (vec![whole.clone(), whole.clone()], None, 100),
            (vec![whole.clone(), Bytes::new(), whole.clone()], None, 100),
            (vec![whole.clone()], Some("gzip"), 100),
            (vec![whole.clone()], None, whole.len() - PREFIX - 1),
        ] {
            let Looked::Other(request) = looked(&frames, encoding, longest).await else {
                panic!("{frames:?} {encoding:?} {longest}");
            };
            let again = request.into_body().collect().await.expect("sound").to_bytes();
            assert_eq!(again, frames.concat());
        }
        let request = Request::new(Frames([whole].into()));
        assert!(matches!(look("GetBulkState", request, 100).await, Looked::Other(_)));
    }

    /// Who says how messages are encoded is answered by the library.
    #[tokio::test]
    async fn both_ways_give_the_same_answer() {
        let server = testing::open_server();
        let opened = testing::open(&server, "statestore", "state.in-memory", &[]).await;
        testing::use_components(&server, [opened]);
        let services = Services::new(&server);
        for (store, code) in [("statestore", Code::Ok), ("another", Code::InvalidArgument)] {
            let request = GetStateRequest {
                store_name: store.to_owned(),
                key: "a".to_owned(),
                ..Default::default()
            };
            let mut answers = Vec::new();
            for encoding in [None, Some("identity")] {
                let mut call =
                    Request::post("/dapr.proto.runtime.v1.Dapr/GetState").header("content-type", "application/grpc");
                if let Some(encoding) = encoding {
                    call = call.header("grpc-encoding", encoding);
                }
                let call = call.body(Upload::whole(framed(&request))).expect("sound");
                let (head, body) = handle(&server, &services, call).await.into_parts();
                let body = body.collect().await.expect("sound");
                let trailers = body.trailers().cloned().unwrap_or_default();
                let said = Status::from_header_map(&trailers).or_else(|| Status::from_header_map(&head.headers));
                let said = said.expect("a status");
                assert_eq!(said.code(), code, "{said:?}");
                if code == Code::Ok {
                    let message = GetStateResponse::decode(body.to_bytes().slice(PREFIX..)).expect("sound");
                    assert_eq!(message, GetStateResponse::default());
                }
                let kind = head.headers["content-type"].clone();
                answers.push((head.status, kind, said.message().to_owned(), said.details().to_vec()));
            }
            assert_eq!(answers[0], answers[1]);
        }
    }

    #[tokio::test]
    async fn what_is_no_message_of_the_method_is_refused_in_the_words_of_the_library() {
        let server = testing::open_server();
        let services = Services::new(&server);
        let mut said = Vec::new();
        for encoding in [None, Some("identity")] {
            let mut call =
                Request::post("/dapr.proto.runtime.v1.Dapr/SaveState").header("content-type", "application/grpc");
            if let Some(encoding) = encoding {
                call = call.header("grpc-encoding", encoding);
            }
            let bad = Bytes::from_static(&[0, 0, 0, 0, 2, 0xff, 0xff]);
            let answer = handle(&server, &services, call.body(Upload::whole(bad)).expect("sound")).await;
            let status = Status::from_header_map(answer.headers()).expect("nothing but a status");
            assert_eq!(status.code(), Code::Internal);
            said.push(status.message().to_owned());
        }
        assert_eq!(said[0], said[1]);
    }
}
