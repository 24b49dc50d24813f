//! What one Dapr Server lets its callers take, over real connections.

mod interpreted;
mod pipelines;
mod states;
mod streams;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use palladium_component::Hosting;
use palladium_http::{Limits, Server as HttpServer, bind};
use palladium_proto::common::StateItem;
use palladium_proto::runtime::{GetStateRequest, SaveStateRequest};
use palladium_tasks::Shutdown;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::app_channel::AppChannel;
use crate::auth::Auth;
use crate::components::{Opened, Opener};
use crate::config::{AppProtocol, Bounds};
use crate::platform::{new_server, serve_api};
use crate::resources::{Component, References};
use crate::server::{Components, Server};
use crate::testing;

const SOON: Duration = Duration::from_secs(10);
const BUDGET: usize = 1 << 20;
const STALL: Duration = Duration::from_millis(400);

type Out = BoxBody<Bytes, Infallible>;

struct World {
    server: Arc<Server>,
    address: SocketAddr,
}

impl World {
    /// A Dapr Server with a store, a bus and an application that takes what it is given, open to everybody.
    async fn start() -> Self {
        let bounds = Bounds {
            held_body_bytes: BUDGET,
            ..Bounds::default()
        };
        let server = Server {
            auth: Auth::Open,
            ..new_server(&testing::config(), &bounds, Shutdown::new())
        };
        let opener = Opener {
            app_id: "orders".to_owned(),
            namespace: "prj-a".to_owned(),
            hosting: Hosting::SelfHosted,
            managed: None,
            pluggable: Vec::new(),
            secrets: Default::default(),
        };
        let (mut entries, mut abouts) = (Vec::new(), Vec::new());
        for (name, kind) in [("kv", "state.in-memory"), ("events", "pubsub.in-memory")] {
            let declared = json!({"metadata": {"name": name}, "spec": {"type": kind, "version": "v1"}});
            let declared = Component::read(declared, "orders", "prj-a", References::Resolved);
            let declared = declared.expect("sound").expect("in scope");
            let Ok(Opened::Ready(entry, about)) = opener.open(&declared, &server.metrics).await else {
                panic!("{kind}")
            };
            entries.push(entry);
            abouts.push(about);
        }
        let components = Components::new(entries, abouts, Vec::new());
        server.components.store(Arc::new(components));
        let app = format!("http://{}", application().await);
        let app = AppChannel::endpoint(&app, AppProtocol::Http, None, None, false).expect("sound");
        let server = Arc::new(server);
        server.app.store(Some(Arc::new(app.behind(&server))));
        let listener = bind("the test", SocketAddr::from(([127, 0, 0, 1], 0)), "-").expect("any port");
        let address = listener.local_addr().expect("bound");
        let limits = Limits {
            body: STALL,
            ..Limits::default()
        };
        tokio::spawn(serve_api(server.clone(), None, HttpServer::new(listener, limits)));
        Self { server, address }
    }

    async fn http2(&self) -> SendRequest<Out> {
        let stream = TcpStream::connect(self.address).await.expect("listening");
        let client = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (client, connection) = client.await.expect("preface");
        tokio::spawn(connection);
        client
    }

    async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::post(format!("http://x{path}")).body(Full::new(body.into()).boxed());
        answered(
            self.http2()
                .await
                .send_request(request.expect("valid"))
                .await
                .expect("answered"),
        )
        .await
    }

    /// One gRPC call; `status` is gRPC's.
    async fn call(&self, method: &str, message: &impl prost::Message, encoding: Option<&str>) -> Answer {
        let message = message.encode_to_vec();
        let mut frame = vec![u8::from(encoding.is_some())];
        frame.extend_from_slice(&u32::try_from(message.len()).expect("small").to_be_bytes());
        frame.extend_from_slice(&message);
        let mut request = Request::post(format!("http://x/dapr.proto.runtime.v1.Dapr/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(encoding) = encoding {
            request = request.header("grpc-encoding", encoding);
        }
        let request = request.body(Full::new(frame.into()).boxed()).expect("valid");
        answered(self.http2().await.send_request(request).await.expect("answered")).await
    }

    /// A request over HTTP/1.1 whose body is left unfinished.
    async fn unfinished(&self, path: &str, kept_back: usize, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("listening");
        let length = body.len() + kept_back;
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("written");
        stream.write_all(body).await.expect("written");
        stream
    }

    async fn until_held(&self, most_left: usize) {
        let probe = async {
            while self.server.budget.hold().take(most_left).is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, probe).await.expect("held");
    }

    async fn until_free(&self) {
        let probe = async {
            while !self.server.budget.is_unused() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, probe).await.expect("given back");
    }
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    grpc: Option<String>,
    retry: bool,
    body: Bytes,
}

impl Answer {
    fn code(&self) -> Value {
        serde_json::from_slice::<Value>(&self.body).unwrap_or_default()["errorCode"].take()
    }
}

async fn answered<B>(answer: Response<B>) -> Answer
where
    B: hyper::body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let (head, body) = answer.into_parts();
    let body = timeout(SOON, body.collect()).await.expect("in time").expect("whole");
    let trailers = body.trailers().cloned().unwrap_or_default();
    let grpc = head.headers.get("grpc-status").or(trailers.get("grpc-status"));
    Answer {
        status: head.status,
        grpc: grpc.map(|status| status.to_str().expect("ascii").to_owned()),
        retry: head.headers.contains_key("retry-after"),
        body: body.to_bytes(),
    }
}

async fn application() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("any port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(async |request: Request<hyper::body::Incoming>| {
                let length = request.into_body().collect().await?.to_bytes().len();
                Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::from(length.to_string()))))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

fn save(value: usize) -> Vec<u8> {
    json!([{"key": "k", "value": "x".repeat(value)}])
        .to_string()
        .into_bytes()
}

fn saved(value: usize) -> SaveStateRequest {
    SaveStateRequest {
        store_name: "kv".to_owned(),
        states: vec![StateItem {
            key: "k".to_owned(),
            value: vec![b'x'; value].into(),
            ..StateItem::default()
        }],
    }
}

#[tokio::test]
async fn sec_059_the_bodies_of_all_calls_together_are_bounded() {
    let world = World::start().await;
    let body = save(700_000);
    let slow = world.unfinished("/v1.0/state/kv", 1, &body[..body.len() - 1]).await;
    world.until_held(400_000).await;
    let refused = world.post("/v1.0/state/kv", save(700_000)).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused:?}");
    assert!(
        refused.retry && refused.code() == "ERR_RESOURCE_EXHAUSTED",
        "{refused:?}"
    );
    let refused = world.call("SaveState", &saved(700_000), None).await;
    assert_eq!(refused.grpc.as_deref(), Some("8"), "{refused:?}");
    let small = world.post("/v1.0/state/kv", save(1000)).await;
    assert_eq!(small.status, StatusCode::NO_CONTENT, "what fits is served: {small:?}");
    drop(slow);
    world.until_free().await;
    let served = world.post("/v1.0/state/kv", save(700_000)).await;
    assert_eq!(served.status, StatusCode::NO_CONTENT, "{served:?}");
    let served = world.call("SaveState", &saved(700_000), None).await;
    assert_eq!(served.grpc.as_deref(), Some("0"), "{served:?}");
    world.until_free().await;
}

#[tokio::test]
async fn sec_059_answers_count_until_they_are_taken() {
    let world = World::start().await;
    world.post("/v1.0/state/kv", save(700_000)).await;
    let mut lazy = TcpStream::connect(world.address).await.expect("listening");
    // Twice, so that what the systems between take along does not empty it.
    let get = b"GET /v1.0/state/kv/k HTTP/1.1\r\nHost: x\r\n\r\n";
    socket2::SockRef::from(&lazy).set_recv_buffer_size(4096).expect("set");
    let mut held = false;
    for _ in 0..40 {
        lazy.write_all(get).await.expect("written");
        tokio::time::sleep(Duration::from_millis(20)).await;
        held = held || world.server.budget.hold().take(400_000).is_err();
    }
    assert!(held, "an answer that nobody takes is not counted");
    let request = GetStateRequest {
        store_name: "kv".to_owned(),
        key: "k".to_owned(),
        ..GetStateRequest::default()
    };
    let refused = world.call("GetState", &request, None).await;
    assert_eq!(refused.grpc.as_deref(), Some("8"), "{refused:?}");
    drop(lazy);
    world.until_free().await;
    let served = world.call("GetState", &request, None).await;
    assert_eq!(served.grpc.as_deref(), Some("0"), "{served:?}");
    assert!(served.body.len() > 700_000);
}

#[tokio::test]
async fn sec_059_what_is_compressed_is_never_inflated() {
    let world = World::start().await;
    // 64 bytes that would become a megabyte mean nothing here: the encoding is refused by name.
    let refused = world.call("SaveState", &saved(64), Some("gzip")).await;
    assert_eq!(refused.grpc.as_deref(), Some("12"), "{refused:?}");
    let gzip = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 4, 0, 0x43, 0xbe, 0xb7, 0xe8, 1, 0, 0, 0,
    ];
    let request = Request::post("http://x/v1.0/state/kv").header("content-encoding", "gzip");
    let request = request
        .body(Full::new(Bytes::copy_from_slice(&gzip)).boxed())
        .expect("valid");
    let answer = answered(world.http2().await.send_request(request).await.expect("answered")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
    assert_eq!(answer.code(), "ERR_MALFORMED_REQUEST");
}

#[tokio::test]
async fn sec_059_a_body_that_is_far_too_large_is_answered_over_http2() {
    let world = World::start().await;
    let large = vec![b'x'; 50 << 20];
    for (path, status, code) in [
        ("/v1.0/state/kv", StatusCode::BAD_REQUEST, "ERR_BODY_READ"),
        (
            "/v1.0/invoke/orders/method/a",
            StatusCode::PAYLOAD_TOO_LARGE,
            "ERR_DIRECT_INVOKE",
        ),
    ] {
        let answer = world.post(path, large.clone()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (status, code.into()),
            "{path}: {answer:?}"
        );
    }
    // And where its length is not known beforehand.
    let pieces = futures_util::stream::iter(
        large
            .chunks(1 << 16)
            .map(|piece| {
                let piece = Bytes::copy_from_slice(piece);
                Ok(http_body::Frame::data(piece))
            })
            .collect::<Vec<_>>(),
    );
    let request = Request::post("http://x/v1.0/invoke/orders/method/a");
    let request = request
        .body(http_body_util::StreamBody::new(pieces).boxed())
        .expect("valid");
    let answer = answered(world.http2().await.send_request(request).await.expect("answered")).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    world.until_free().await;
}

#[tokio::test]
async fn sec_058_an_upload_that_stalls_is_answered_408() {
    let world = World::start().await;
    for path in ["/v1.0/state/kv", "/v1.0/invoke/orders/method/a"] {
        let mut stream = world.unfinished(path, 9, b"[").await;
        let mut answer = String::new();
        let _ = timeout(SOON, stream.read_to_string(&mut answer))
            .await
            .expect("in time");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{path}: {answer}");
    }
}
