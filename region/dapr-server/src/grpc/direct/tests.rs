//! Both ways to answer a lone message, side by side. Must never know the words of the gRPC library: only that they are the same.

use std::collections::VecDeque;

use http::HeaderValue;
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

/// A call as it comes. Who says how messages are encoded is answered by the library.
fn call(method: &str, message: Bytes, encoding: Option<&str>) -> Request<Upload> {
    let call =
        Request::post(format!("/dapr.proto.runtime.v1.Dapr/{method}")).header("content-type", "application/grpc");
    let call = encoding
        .into_iter()
        .fold(call, |call, encoding| call.header("grpc-encoding", encoding));
    call.body(Upload::whole(message)).expect("sound")
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
            let call = call("GetState", framed(&request), encoding);
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
        let bad = Bytes::from_static(&[0, 0, 0, 0, 2, 0xff, 0xff]);
        let answer = handle(&server, &services, call("SaveState", bad, encoding)).await;
        let status = Status::from_header_map(answer.headers()).expect("nothing but a status");
        assert_eq!(status.code(), Code::Internal);
        said.push(status.message().to_owned());
    }
    assert_eq!(said[0], said[1]);
}
