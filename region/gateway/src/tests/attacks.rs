//! What hostile clients send.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::AsyncWriteExt;

use super::client::{Client, get, post, raw, read_all, request, tls};
use super::world::{A, World};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n";

#[tokio::test]
async fn sec_053_one_request_in_is_at_most_one_request_out() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    let auth = format!("Host: localhost\r\ndapr-api-token: {}\r\n", app.token);
    let smuggled = format!("{SMUGGLED}dapr-api-token: {}\r\n\r\n", app.token);
    let heads = [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: x, chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\x0bchunked",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: 5\r\n\tX: folded",
        "Content-Length: +5",
        "Content-Length: 5 5",
    ];
    for head in heads {
        let answer = raw(
            &world,
            format!("POST /first HTTP/1.1\r\n{auth}{head}\r\n\r\n0\r\n\r\n{smuggled}").as_bytes(),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
    }
    assert_eq!(app.dapr.count(), 0);
    for body in [
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "5;\n\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "0\r\nContent-Length: 9\r\n\r\n",
    ] {
        let bytes = format!("POST /count HTTP/1.1\r\n{auth}Transfer-Encoding: chunked\r\n\r\n{body}{smuggled}");
        let answer = raw(&world, bytes.as_bytes()).await;
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{body:?}");
    }
    let seen = app.dapr.seen.lock().unwrap();
    assert!(seen.iter().all(|seen| seen.target == "/count"), "{seen:?}");
}

#[tokio::test]
async fn sec_053_line_breaks_in_http2_never_become_lines() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    let fields = |extra: &[(&str, &str)]| {
        let mut block = Vec::new();
        let standard = [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", "/"),
            (":authority", "localhost"),
            ("dapr-api-token", &app.token),
        ];
        for (name, value) in standard.iter().copied().chain(extra.iter().copied()) {
            // HPACK: literal without indexing, new name, no Huffman code.
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).unwrap());
                block.extend(text.as_bytes());
            }
        }
        block
    };
    for extra in [
        [("x", "y\r\nx-smuggled: 1")],
        [("x\r\nx-smuggled", "1")],
        [("x", "y\r\n\r\nGET /smuggled HTTP/1.1\r\n")],
        [("transfer-encoding", "chunked")],
        [("connection", "dapr-api-token")],
        [("content-length", "7")],
        [(":path", "/second")],
        [("X-Upper", "1")],
    ] {
        let mut stream = tls(&world, "localhost", &[b"h2"]).await;
        let block = fields(&extra);
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        bytes.extend([0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1]);
        bytes.extend(&block);
        stream.write_all(&bytes).await.unwrap();
        read_all(&mut stream).await;
        assert_eq!(app.dapr.count(), 0, "{extra:?}");
    }
}

#[tokio::test]
async fn sec_055_claims_of_identity_do_not_arrive() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    for http2 in [false, true] {
        let mut client = if http2 {
            Client::http2(&world).await
        } else {
            Client::http1(&world).await
        };
        let mut asked = request(http2, "GET", "/v1.0/invoke", &app.token, Empty::<Bytes>::new());
        for name in [
            "dapr-caller-app-id",
            "dapr-caller-namespace",
            "dapr_caller_app_id",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-client-cert",
            "x_forwarded_client_cert",
            "x-spiffe-id",
            "x-dapr-caller",
            "dapr_api_token",
        ] {
            asked.headers_mut().insert(name, "forged".parse().unwrap());
        }
        for name in ["dapr-app-id", "dapr-callee-app-id", "traceparent"] {
            asked.headers_mut().insert(name, "kept".parse().unwrap());
        }
        assert_eq!(client.send(asked).await.status, StatusCode::OK);
        let seen = app.dapr.last();
        assert!(seen.headers.values().all(|value| value != "forged"), "{seen:?}");
        assert_eq!(seen.headers.values().filter(|value| *value == "kept").count(), 3);
        assert_eq!(seen.headers["dapr-api-token"], app.token.as_str());
        assert_eq!(seen.peer, world.ca.id("/ns/palladium/gateway").to_string());
    }
}

#[tokio::test]
async fn sec_056_connection_cannot_strip_the_token() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    let head =
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Mine: 1\r\nConnection: close, dapr-api-token, dapr-app-id, x-mine\r\n";
    assert!(
        raw(&world, format!("{head}\r\n").as_bytes())
            .await
            .starts_with("HTTP/1.1 401 ")
    );
    let answer = raw(
        &world,
        format!("{head}dapr-app-id: x\r\ndapr-api-token: {}\r\n\r\n", app.token).as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = app.dapr.last();
    assert_eq!(seen.headers["dapr-api-token"], app.token.as_str());
    assert!(seen.headers.contains_key("dapr-app-id") && !seen.headers.contains_key("x-mine"));
}

#[tokio::test]
async fn sec_058_slow_heads_bodies_and_readers_are_cut_off_and_hurt_nobody() {
    let mut world = World::with(|config| {
        config.limits.head_ms = 300;
        config.limits.stall_ms = 400;
    })
    .await;
    let app = world.app(A, "orders").await;
    let began = Instant::now();
    // Many slow heads at once.
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = tls(&world, "localhost", &[]).await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: local").await.unwrap();
        slow.push(stream);
    }
    let healthy = Instant::now();
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::OK);
    assert!(healthy.elapsed() < Duration::from_millis(500));
    for mut stream in slow {
        read_all(&mut stream).await;
        let mut cut = stream.write_all(b"x").await.is_err() || stream.flush().await.is_err();
        while !cut && began.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            cut = stream.write_all(b"x").await.is_err();
        }
        assert!(cut, "a slow head is still connected");
    }
    // A body that drips.
    for length in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let mut stream = tls(&world, "localhost", &[]).await;
        let head = format!(
            "POST /count HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: {}\r\n{length}\r\n\r\n1\r\na",
            app.token
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{length}: {answer}");
    }
    // An answer that nobody takes.
    let mut stream = tls(&world, "localhost", &[]).await;
    let head = format!(
        "GET /send/500000000 HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: {}\r\n\r\n",
        app.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(read_all(&mut stream).await.len() < 500_000_000);
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn sec_059_too_much_is_refused_with_the_right_code() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    world.table.routes[0].max_body_bytes = 1000;
    world.publish().await;
    let auth = format!("Host: localhost\r\ndapr-api-token: {}\r\n", app.token);
    let large = format!("GET / HTTP/1.1\r\n{auth}X: {}\r\n\r\n", "y".repeat(100_000));
    assert!(raw(&world, large.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let declared = format!("POST /count HTTP/1.1\r\n{auth}Content-Length: 10000000000\r\n\r\n");
    let answer = raw(&world, declared.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("ERR_BODY_TOO_LARGE"),
        "{answer}"
    );
    assert_eq!(app.dapr.count(), 0);
    assert_eq!(post(&world, "/count", &app.token, vec![0; 1000]).await.text(), "1000");
    // A body of unknown length is counted on the way.
    for http2 in [false, true] {
        let pieces = || {
            tokio_stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(&[0; 100])))))
        };
        let body = StreamBody::new(pieces());
        let mut client = if http2 {
            Client::http2(&world).await
        } else {
            Client::http1(&world).await
        };
        let answer = client.send(request(http2, "POST", "/count", &app.token, body)).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "http2: {http2}");
    }
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn sec_061_an_upgrade_is_no_way_around() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    let upgrades = [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    ];
    for upgrade in upgrades {
        let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{upgrade}");
        assert!(
            raw(&world, format!("{head}\r\n").as_bytes())
                .await
                .starts_with("HTTP/1.1 401 ")
        );
        let with_token = format!("{head}dapr-api-token: {}\r\n\r\n{SMUGGLED}\r\n", app.token);
        let answer = raw(&world, with_token.as_bytes()).await;
        // The upgrade is ignored; what follows is a request of its own, without a token.
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("HTTP/1.1 401 "),
            "{answer}"
        );
        let seen = app.dapr.last();
        assert!(
            !seen.headers.contains_key("upgrade") && !seen.headers.contains_key("http2-settings"),
            "{seen:?}"
        );
    }
    let connect = format!(
        "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: {}\r\n\r\n",
        app.token
    );
    assert!(raw(&world, connect.as_bytes()).await.starts_with("HTTP/1.1 400 "));
    // HTTP/2 by preface on a connection that agreed on HTTP/1.1.
    let mut stream = tls(&world, "localhost", &[b"http/1.1"]).await;
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    assert!(!read_all(&mut stream).await.contains(" 200 "));
    assert_eq!(app.dapr.count(), 2);
}

#[tokio::test]
async fn shutdown_is_not_for_applications_in_any_spelling() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    for path in [
        "/v1.0/shutdown",
        "//v1.0/./%73hutdown/",
        "/v1.0%2Fshutdown?x",
        "/v1.0/shutdown;x",
        "/V1.0/a/../SHUTDOWN",
    ] {
        assert_eq!(
            post(&world, path, &app.token, "").await.status,
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    let mut client = Client::http2(&world).await;
    let mut call = request(
        true,
        "POST",
        "/dapr.proto.runtime.v1.Dapr/Shutdown",
        &app.token,
        Full::<Bytes>::default(),
    );
    call.headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    let answer = client.send(call).await;
    assert_eq!((answer.status, answer.grpc()), (StatusCode::OK, Some("7")));
    assert_eq!(app.dapr.count(), 0);
}

#[tokio::test]
async fn targets_pass_byte_by_byte_and_bad_escapes_do_not() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    for target in [
        "/v1.0/state/s/a%2Fb%7e%7E//c/../d;e?x=%20&y=+#",
        "/%E2%82%AC/%00",
        "/a?b?c",
    ] {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: {}\r\nConnection: close\r\n\r\n",
            app.token
        );
        assert!(
            raw(&world, head.as_bytes()).await.starts_with("HTTP/1.1 200 "),
            "{target}"
        );
        assert_eq!(app.dapr.last().target, target.trim_end_matches('#'));
    }
    let before = app.dapr.count();
    for target in ["/%", "/%2", "/%zz", "/a%\x01b", "/a\x7f"] {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: {}\r\n\r\n",
            app.token
        );
        assert!(
            raw(&world, head.as_bytes()).await.starts_with("HTTP/1.1 400 "),
            "{target:?}"
        );
    }
    assert_eq!(app.dapr.count(), before);
}
