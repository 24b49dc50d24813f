//! The accept loop seen from a raw socket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use palladium_tasks::Shutdown;
use palladium_tls::{ALPN_HTTP, Acceptor, PublicCert, PublicCertSource, pem_roots_client_config, public_server_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{Accept, Connection, Limits, Server, TlsListener, Upload, bind};

struct Running {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

fn start(limits: Limits) -> Running {
    let listener = bind("the test", SocketAddr::from(([127, 0, 0, 1], 0)), "-").expect("any port");
    let address = listener.local_addr().expect("bound");
    start_on(listener, address, limits)
}

fn start_on(listener: impl Accept + 'static, address: SocketAddr, limits: Limits) -> Running {
    let (calls, shutdown) = (Arc::new(AtomicUsize::new(0)), Shutdown::new());
    let (counted, stop) = (calls.clone(), shutdown.clone());
    let make = move |connection: Arc<Connection>| {
        let calls = counted.clone();
        service_fn(move |request| answer(request, calls.clone(), connection.clone()))
    };
    let task = tokio::spawn(async move { Server::new(listener, limits).serve(make, &stop).await });
    Running {
        address,
        calls,
        shutdown,
        task,
    }
}

async fn answer(
    request: Request<Upload>,
    calls: Arc<AtomicUsize>,
    connection: Arc<Connection>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    calls.fetch_add(1, Ordering::SeqCst);
    match request.uri().path() {
        "/slow" => tokio::time::sleep(Duration::from_millis(300)).await,
        "/panic" => panic!("as the test wants it"),
        "/early" => return Ok(Response::new(Full::from("early"))),
        "/big" => return Ok(Response::new(Full::from(vec![b'x'; 64 * 1024 * 1024]))),
        _ => {}
    }
    let (path, sni) = (
        request.uri().path().to_owned(),
        connection.sni.clone().unwrap_or_default(),
    );
    let length = request.into_body().collect().await.map(|body| body.to_bytes().len());
    let length = length.map_or("failed".to_owned(), |length| length.to_string());
    Ok(Response::new(Full::from(format!(
        "{path} {length} {sni} {}",
        connection.http2
    ))))
}

async fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("listening");
    stream.write_all(bytes).await.expect("written");
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
        .await
        .expect("closed in time");
    String::from_utf8_lossy(&answer).into_owned()
}

fn quick() -> Limits {
    Limits {
        head: Duration::from_millis(200),
        stall: Duration::from_millis(250),
        idle: Duration::from_millis(250),
        ..Limits::default()
    }
}

#[tokio::test]
async fn keep_alive_requests_are_answered_in_order() {
    let server = start(Limits::default());
    let answer = talk(
        server.address,
        b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
          GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    let (a, b, c) = (answer.find("/a 0 "), answer.find("/b 3 "), answer.find("/c 0 "));
    assert!(a.is_some() && a < b && b < c, "{answer}");
}

#[tokio::test]
async fn sec_053_a_smuggled_request_never_reaches_the_service() {
    let server = start(Limits::default());
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let heads = [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: 0\nX: y",
        "X: y\r\n Content-Length: 50",
        "Transfer-Encoding : chunked",
        "Content-Length: -1",
    ];
    for head in heads {
        let bytes = format!("POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n0\r\n\r\n{smuggled}");
        let answer = talk(server.address, bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
    }
    assert_eq!(server.calls.load(Ordering::SeqCst), 0);
    let chunked = "POST /one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = talk(
        server.address,
        format!("{chunked}1;ext=\"\n\"\r\na\r\n0\r\n\r\n{smuggled}").as_bytes(),
    )
    .await;
    assert!(!answer.contains("/smuggled"), "{answer}");
    assert_eq!(server.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn sec_059_a_large_head_is_refused() {
    let server = start(Limits::default());
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(200_000));
    assert!(
        talk(server.address, large.as_bytes())
            .await
            .starts_with("HTTP/1.1 431 ")
    );
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(200));
    assert!(talk(server.address, many.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    assert_eq!(server.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn sec_058_who_drips_or_says_nothing_is_cut_off() {
    let server = start(quick());
    let began = Instant::now();
    let mut stream = TcpStream::connect(server.address).await.expect("listening");
    for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX-Drip: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".iter() {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut rest = Vec::new();
    let _ = timeout(Duration::from_secs(2), stream.read_to_end(&mut rest))
        .await
        .expect("cut off");
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(server.calls.load(Ordering::SeqCst), 0);
    // An idle keep-alive connection ends too, without an error.
    assert!(
        talk(server.address, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .contains("/a 0")
    );
}

#[tokio::test]
async fn sec_058_a_body_that_never_comes_is_not_waited_for() {
    let server = start(quick());
    let mut stream = TcpStream::connect(server.address).await.expect("listening");
    stream
        .write_all(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        .await
        .expect("written");
    let mut rest = Vec::new();
    let _ = timeout(Duration::from_secs(2), stream.read_to_end(&mut rest))
        .await
        .expect("cut off");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn sec_058_who_takes_no_answer_is_cut_off() {
    let server = start(quick());
    let mut stream = TcpStream::connect(server.address).await.expect("listening");
    stream
        .write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("written");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
        .await
        .expect("cut off");
    assert!(answer.len() < 64 * 1024 * 1024, "the whole answer came");
}

#[tokio::test]
async fn a_drain_lets_requests_finish() {
    let server = start(Limits::default());
    let slow = tokio::spawn(talk(server.address, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.shutdown.trigger();
    assert!(slow.await.expect("no panic").contains("/slow 0"));
    timeout(Duration::from_secs(2), server.task)
        .await
        .expect("ended")
        .expect("no panic");
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_drain_waits_for_no_connection_that_has_asked_nothing() {
    let server = start(Limits::default());
    let ahead_of_need = TcpStream::connect(server.address).await.expect("listening");
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.shutdown.trigger();
    timeout(Duration::from_secs(1), server.task)
        .await
        .expect("ended")
        .expect("no panic");
    drop(ahead_of_need);
}

#[tokio::test]
async fn a_drain_has_a_deadline() {
    let server = start(Limits {
        drain: Duration::from_millis(50),
        ..Limits::default()
    });
    let slow = tokio::spawn(talk(server.address, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.shutdown.trigger();
    timeout(Duration::from_millis(200), server.task)
        .await
        .expect("ended")
        .expect("no panic");
    assert_eq!(slow.await.expect("no panic"), "");
}

#[tokio::test]
async fn beyond_the_bound_connections_wait() {
    let server = start(Limits {
        connections: 1,
        ..quick()
    });
    let first = TcpStream::connect(server.address).await.expect("listening");
    let second = tokio::spawn(talk(
        server.address,
        b"GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.calls.load(Ordering::SeqCst), 0);
    drop(first);
    assert!(second.await.expect("no panic").contains("/b 0"));
}

#[tokio::test]
async fn http2_is_told_by_its_preface() {
    let server = start(Limits::default());
    let stream = TcpStream::connect(server.address).await.expect("listening");
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("preface");
    tokio::spawn(connection);
    let request = Request::post("http://x/h2")
        .body(Full::new(Bytes::from_static(b"four")))
        .expect("valid");
    let answer = client
        .send_request(request)
        .await
        .expect("answered")
        .into_body()
        .collect()
        .await
        .expect("whole");
    assert_eq!(answer.to_bytes(), "/h2 4  true");
}

#[tokio::test]
async fn a_panic_ends_its_own_stream_and_no_other() {
    let server = start(Limits::default());
    let stream = TcpStream::connect(server.address).await.expect("listening");
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("preface");
    tokio::spawn(connection);
    let ask = |path: &str| {
        let request = Request::get(format!("http://x{path}")).body(Full::new(Bytes::new()));
        client.clone().send_request(request.expect("valid"))
    };
    let (slow, panic) = tokio::join!(ask("/slow"), ask("/panic"));
    assert!(panic.is_err());
    for answer in [slow, ask("/after").await] {
        let answer = answer.expect("answered").into_body().collect().await;
        assert!(answer.is_ok(), "{answer:?}");
    }
}

/// Types of the frames that come on stream 1 until nothing more does for a while.
async fn frames(stream: &mut TcpStream, patience: Duration) -> Vec<u8> {
    let (mut seen, mut head) = (Vec::new(), [0; 9]);
    while let Ok(Ok(_)) = timeout(patience, stream.read_exact(&mut head)).await {
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.expect("whole frame");
        if head[8] == 1 {
            seen.push(head[3]);
        }
    }
    seen
}

#[tokio::test]
async fn an_early_answer_is_not_followed_by_a_reset_while_the_body_may_still_come() {
    const PATIENCE: Duration = Duration::from_millis(300);
    let [data, headers, reset] = [0_u8, 1, 3];
    // POST http://x/early, its body to come.
    let mut ask = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let block = b"\x83\x86\x41\x01x\x04\x06/early";
    ask.extend_from_slice(&[0, 0, block.len() as u8, headers, 4, 0, 0, 0, 1]);
    ask.extend_from_slice(block);
    let server = start(Limits::default());
    let connect = async || {
        let mut stream = TcpStream::connect(server.address).await.expect("listening");
        stream.write_all(&ask).await.expect("written");
        assert_eq!(frames(&mut stream, PATIENCE).await, [headers, data]);
        stream
    };
    let mut whole = connect().await;
    whole.write_all(b"\0\0\x01\0\x01\0\0\0\x01a").await.expect("written");
    assert_eq!(frames(&mut whole, 4 * PATIENCE).await, [0; 0], "a body that came whole");
    let mut slow = connect().await;
    assert_eq!(
        frames(&mut slow, 4 * PATIENCE).await,
        [reset],
        "a body that does not come"
    );
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_reads_only_after_it_has_sent_all() {
    let server = start(Limits::default());
    let body = vec![b'x'; 8 << 20];
    for round in 0..20 {
        let mut stream = TcpStream::connect(server.address).await.expect("listening");
        let head = format!(
            "POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        stream.write_all(&body).await.expect("taken to its end");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("no reset");
        assert!(answer.ends_with("early"), "{round}: {answer}");
    }
    // The same for what is refused before the service sees it.
    let mut stream = TcpStream::connect(server.address).await.expect("listening");
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n";
    stream.write_all(head).await.expect("written");
    stream.write_all(&body).await.expect("taken to its end");
    stream.shutdown().await.expect("said");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("no reset");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn who_goes_on_sending_after_an_early_answer_is_cut_off() {
    let server = start(Limits::default());
    for pause in [Duration::ZERO, Duration::from_millis(50)] {
        let began = Instant::now();
        let mut stream = TcpStream::connect(server.address).await.expect("listening");
        let head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000\r\n\r\n";
        stream.write_all(head).await.expect("written");
        let (mut sent, piece) = (0, vec![b'x'; 64 * 1024]);
        while stream.write_all(&piece).await.is_ok() {
            sent += piece.len();
            assert!(sent < 64 << 20, "more is taken than was promised");
            tokio::time::sleep(pause).await;
        }
        assert!(began.elapsed() < Duration::from_secs(4), "{pause:?}");
    }
}

#[tokio::test]
async fn over_tls_the_service_learns_the_server_name() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
    let certificates = PublicCertSource::new();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    certificates.set(PublicCert::from_pem(chain.as_bytes(), key.as_bytes()).expect("pair"));
    let config = public_server_config(&certificates, ALPN_HTTP);
    let listener = bind("the test", SocketAddr::from(([127, 0, 0, 1], 0)), "-").expect("any port");
    let address = listener.local_addr().expect("bound");
    let acceptor = Acceptor::public(config, Duration::from_secs(5));
    let server = start_on(TlsListener::new(listener, acceptor), address, quick());
    let client = pem_roots_client_config(chain.as_bytes(), &[]).expect("root");
    let stream = TcpStream::connect(server.address).await.expect("listening");
    let name = "localhost".try_into().expect("name");
    let mut stream = tokio_rustls::TlsConnector::from(client)
        .connect(name, stream)
        .await
        .expect("handshake");
    stream
        .write_all(b"GET /tls HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .expect("written");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.contains("/tls 0 localhost false"), "{answer}");
    // Plaintext on the TLS port is refused before HTTP is looked at.
    assert!(
        !talk(server.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .contains("HTTP/1.1")
    );
    assert_eq!(server.calls.load(Ordering::SeqCst), 1);
}
