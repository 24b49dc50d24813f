//! Clients that are slow on purpose, and those that only look so.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use palladium_tasks::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::{Connection, Limits, Server, Upload, UploadError, bind};

type Out = BoxBody<Bytes, Infallible>;

const SPAN: Duration = Duration::from_millis(300);

fn limits() -> Limits {
    Limits {
        stall: SPAN,
        body: SPAN,
        idle: Duration::from_secs(60),
        unproven_idle: SPAN,
        ..Limits::default()
    }
}

fn start(limits: Limits) -> (SocketAddr, Shutdown) {
    let listener = bind("the test", SocketAddr::from(([127, 0, 0, 1], 0)), "-").expect("any port");
    let (address, shutdown) = (listener.local_addr().expect("bound"), Shutdown::new());
    let stop = shutdown.clone();
    let make = |_: Arc<Connection>| service_fn(answer);
    tokio::spawn(async move { Server::new(listener, limits).serve(make, &stop).await });
    (address, shutdown)
}

async fn answer(request: Request<Upload>) -> Result<Response<Out>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = match path.as_str() {
        "/big" => full(vec![b'x'; 8 << 20]),
        // Silent for longer than a peer may be.
        "/pauses" => StreamBody::new(stream::unfold(0, |round| async move {
            (round < 3).then_some(())?;
            sleep(2 * SPAN).await;
            Some((Ok(Frame::data(Bytes::from_static(b"x"))), round + 1))
        }))
        .boxed(),
        "/stranger" => {
            let mut answer = Response::new(full("no"));
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
            return Ok(answer);
        }
        _ => match request.into_body().collect().await {
            Ok(body) => full(body.to_bytes().len().to_string()),
            Err(UploadError::Stalled) => full("stalled"),
            Err(UploadError::Broken(_)) => full("broken"),
        },
    };
    Ok(Response::new(body))
}

fn full(bytes: impl Into<Bytes>) -> Out {
    Full::new(bytes.into()).boxed()
}

async fn connect(address: SocketAddr, window: u32) -> SendRequest<Out> {
    let stream = TcpStream::connect(address).await.expect("listening");
    let mut client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    client.initial_stream_window_size(window);
    let (client, connection) = client.handshake(TokioIo::new(stream)).await.expect("preface");
    tokio::spawn(connection);
    client
}

fn ask(path: &str, kind: &str, body: Out) -> Request<Out> {
    let request = Request::post(format!("http://x{path}")).header("content-type", kind);
    request.body(body).expect("valid")
}

/// One byte each time, for as long as anybody listens.
fn drips() -> Out {
    StreamBody::new(stream::unfold((), |()| async {
        sleep(SPAN / 4).await;
        Some((Ok(Frame::data(Bytes::from_static(b"x"))), ()))
    }))
    .boxed()
}

/// Four bytes with long pauses.
fn messages() -> Out {
    StreamBody::new(stream::unfold(0, |round| async move {
        sleep(2 * SPAN).await;
        (round < 4).then_some((Ok(Frame::data(Bytes::from_static(b"x"))), round + 1))
    }))
    .boxed()
}

async fn said(client: &mut SendRequest<Out>, request: Request<Out>) -> String {
    let answer = timeout(20 * SPAN, client.send_request(request)).await.expect("in time");
    let body = answer.expect("answered").into_body().collect().await.expect("whole");
    String::from_utf8_lossy(&body.to_bytes()).into_owned()
}

#[tokio::test]
async fn sec_058_a_slow_http2_body_is_not_waited_for_but_a_slow_stream_of_messages_is() {
    let (address, _shutdown) = start(limits());
    let mut client = connect(address, 65_535).await;
    assert_eq!(said(&mut client, ask("/a", "text/plain", drips())).await, "stalled");
    assert_eq!(said(&mut client, ask("/a", "application/grpc", messages())).await, "4");
    assert_eq!(said(&mut client, ask("/a", "text/plain", full("four"))).await, "4");
}

#[tokio::test]
async fn sec_058_an_http1_body_that_drips_is_answered_and_the_connection_closed() {
    let (address, _shutdown) = start(limits());
    let mut stream = TcpStream::connect(address).await.expect("listening");
    let head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n";
    stream.write_all(head).await.expect("written");
    let (mut read, mut write) = stream.split();
    let drip = async {
        while write.write_all(b"x").await.is_ok() {
            sleep(SPAN / 4).await;
        }
    };
    let mut answer = String::new();
    tokio::select! {
        () = drip => {}
        read = timeout(20 * SPAN, read.read_to_string(&mut answer)) => drop(read.expect("closed in time")),
    }
    assert!(answer.contains("stalled"), "{answer}");
}

#[tokio::test]
async fn sec_058_an_http2_reader_that_never_opens_its_window_loses_that_stream_alone() {
    let (address, _shutdown) = start(limits());
    for window in [0, 1, 65_535] {
        let mut client = connect(address, window).await;
        let stuck = client.send_request(ask("/big", "text/plain", full("")));
        let stuck = stuck.await.expect("answered").into_body();
        let began = Instant::now();
        // On the very same connection too, as far as it takes answers.
        let neighbour = client.send_request(ask("/pauses", "text/plain", full("")));
        sleep(4 * SPAN).await;
        let read = timeout(10 * SPAN, stuck.collect()).await.expect("an end");
        assert!(read.is_err(), "window {window}: the whole answer came");
        assert!(began.elapsed() < 10 * SPAN, "window {window}");
        let neighbour = neighbour.await.expect("answered").into_body();
        if window > 0 {
            let neighbour = neighbour.collect().await.expect("the connection lives");
            assert_eq!(neighbour.to_bytes(), "xxx");
        }
    }
}

#[tokio::test]
async fn an_answer_that_waits_for_its_own_source_or_is_read_slowly_is_let_be() {
    let (address, _shutdown) = start(limits());
    let mut client = connect(address, 65_535).await;
    assert_eq!(said(&mut client, ask("/pauses", "text/plain", full(""))).await, "xxx");
    let answer = client.send_request(ask("/big", "text/plain", full("")));
    let mut body = answer.await.expect("answered").into_body();
    let mut length = 0;
    for _ in 0..8 {
        sleep(SPAN / 2).await;
        // Some of it at a time, more than nothing in each span.
        for _ in 0..8 {
            let frame = body.frame().await.expect("more").expect("no reset");
            length += frame.data_ref().map_or(0, Bytes::len);
        }
    }
    length += body.collect().await.expect("no reset").to_bytes().len();
    assert_eq!(length, 8 << 20);
}

#[tokio::test]
async fn sec_058_one_address_cannot_have_all_connections() {
    let (address, _shutdown) = start(Limits {
        connections: 8,
        addresses: 4,
        ..limits()
    });
    let get = async || {
        let mut stream = TcpStream::connect(address).await.expect("listening");
        // Hung up on, this may fail.
        let _ = stream.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut piece = [0; 12];
        let read = timeout(10 * SPAN, stream.read(&mut piece)).await.expect("at once");
        (stream, read.is_ok_and(|read| read > 0))
    };
    let (one, two, three) = (get().await, get().await, get().await);
    assert_eq!((one.1, two.1, three.1), (true, true, false));
    drop(one);
    sleep(SPAN).await;
    assert!(get().await.1, "a place that was given back");
}

#[tokio::test]
async fn sec_047_a_connection_whose_caller_is_not_known_is_not_kept_open() {
    let (address, _shutdown) = start(limits());
    let (mut known, mut stranger) = (connect(address, 65_535).await, connect(address, 65_535).await);
    assert_eq!(said(&mut known, ask("/a", "text/plain", full(""))).await, "0");
    assert_eq!(said(&mut stranger, ask("/a", "text/plain", full(""))).await, "0");
    assert_eq!(
        said(&mut stranger, ask("/stranger", "text/plain", full(""))).await,
        "no"
    );
    sleep(5 * SPAN).await;
    assert!(stranger.is_closed(), "still open");
    assert_eq!(said(&mut known, ask("/a", "text/plain", full(""))).await, "0");
}
