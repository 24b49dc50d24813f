//! What passes, how, and to whom.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Version};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt;

use super::client::{Client, get, post, raw, read_all, request, tls, whole};
use super::dapr::Dapr;
use super::world::{A, B, World};

type None = Empty<Bytes>;

#[tokio::test]
async fn sec_044_no_connection_is_ever_shared_between_identities() {
    let mut world = World::new().await;
    let mut apps = Vec::new();
    for (project, name) in [(A, "orders"), (A, "billing"), (B, "orders")] {
        apps.push((format!("{project}/{name}"), world.app(project, name).await));
    }
    for http2 in [false, true] {
        // One connection of one client, tokens of all App IDs in turn.
        let mut client = if http2 {
            Client::http2(&world).await
        } else {
            Client::http1(&world).await
        };
        for _ in 0..20 {
            for (name, app) in &apps {
                let answer = client.send(request(http2, "GET", "/", &app.token, None::new())).await;
                assert_eq!(&answer.text(), name);
            }
        }
    }
    let mut all = HashSet::new();
    for (_, app) in &apps {
        let seen = app.dapr.seen.lock().unwrap();
        assert!(
            seen.iter()
                .all(|seen| seen.headers["dapr-api-token"] == app.token.as_str())
        );
        let from: HashSet<_> = seen
            .iter()
            .map(|seen| (seen.version == Version::HTTP_2, seen.from))
            .collect();
        // One connection for each protocol, mirrored, and reused for all 20 requests.
        assert_eq!(from.len(), 2, "{from:?}");
        all.extend(from.into_iter().map(|(_, from)| from));
    }
    assert_eq!(all.len(), 6);
}

#[tokio::test]
async fn sec_044_an_impostor_at_the_address_gets_nothing() {
    let mut world = World::with(|config| config.limits.hold_ms = 100).await;
    let app = world.app(A, "orders").await;
    // Another App ID of the same project answers where this one should.
    let impostor = Dapr::start(&world.ca, A, "billing", 0);
    world.table.routes[0].address = impostor.address.to_string();
    world.publish().await;
    assert_eq!(
        get(&world, "/", &app.token).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!((impostor.count(), app.dapr.count()), (0, 0));
    // Nor does a route whose SPIFFE ID is another's.
    world.table.routes[0].spiffe_id = world.ca.id(&format!("/ns/{A}/billing")).to_string();
    world.publish().await;
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(impostor.count(), 0);
}

#[tokio::test]
async fn a_gigabyte_streams_both_ways_and_is_never_held() {
    const SIZE: u64 = 1024 * 1024 * 1024;
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    world.table.routes[0].max_body_bytes = 2 * SIZE;
    world.publish().await;
    let before = resident();
    for http2 in [false, true] {
        let piece = Bytes::from(vec![7; 64 * 1024]);
        let pieces = (0..SIZE / 64 / 1024 / 2).map(move |_| Ok::<_, std::io::Error>(Frame::data(piece.clone())));
        let mut client = if http2 {
            Client::http2(&world).await
        } else {
            Client::http1(&world).await
        };
        let answer = client
            .send(request(
                http2,
                "POST",
                "/count",
                &app.token,
                StreamBody::new(tokio_stream::iter(pieces)),
            ))
            .await;
        assert_eq!(answer.text(), (SIZE / 2).to_string());
        let mut client = if http2 {
            Client::http2(&world).await
        } else {
            Client::http1(&world).await
        };
        let asked = request(http2, "GET", &format!("/send/{}", SIZE / 2), &app.token, None::new());
        let mut body = client.begin(asked).await.unwrap().into_body();
        let mut count = 0;
        while let Some(frame) = body.frame().await {
            count += frame.unwrap().data_ref().map_or(0, Bytes::len) as u64;
        }
        assert_eq!(count, SIZE / 2);
    }
    assert!(resident() < before + 64 * 1024 * 1024, "{before} → {}", resident());
}

#[tokio::test]
async fn a_slow_reader_slows_its_dapr_server_down() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    for http2 in [false, true] {
        let before = resident();
        let mut client = if http2 {
            Client::http2(&world).await
        } else {
            Client::http1(&world).await
        };
        let body = client
            .begin(request(http2, "GET", "/send/1000000000", &app.token, None::new()))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(resident() < before + 32 * 1024 * 1024, "{before} → {}", resident());
        drop(body);
    }
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::OK);
}

/// Resident memory of this process, which is gateway, client and Dapr Server together, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn bodies_flow_while_the_request_is_still_being_sent() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    for http2 in [false, true] {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
        let frames = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver)
            .map(|text| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(text.as_bytes()))));
        let mut client = if http2 {
            Client::http2(&world).await
        } else {
            Client::http1(&world).await
        };
        sender.send("first").unwrap();
        let answer = client
            .begin(request(http2, "POST", "/echo", &app.token, StreamBody::new(frames)))
            .await
            .unwrap();
        let mut body = answer.into_body();
        let mut next = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(next().await, "first");
        sender.send("second").unwrap();
        assert_eq!(next().await, "second");
        drop(sender);
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 0);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    for http2 in [false, true] {
        let mut client = if http2 {
            Client::http2(&world).await
        } else {
            Client::http1(&world).await
        };
        let answer = client
            .send(request(http2, "GET", "/die/100000", &app.token, None::new()))
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.body.is_err(), "a cut answer looked whole");
    }
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn many_clients_at_once_are_all_served() {
    let mut world = World::with(|config| config.workers = Some(2)).await;
    let app = world.app(A, "orders").await;
    let world = std::sync::Arc::new(world);
    let mut tasks = Vec::new();
    for number in 0..40 {
        let (world, token) = (world.clone(), app.token.clone());
        tasks.push(tokio::spawn(async move {
            let http2 = number % 2 == 0;
            let mut client = if http2 {
                Client::http2(&world).await
            } else {
                Client::http1(&world).await
            };
            for _ in 0..25 {
                assert_eq!(
                    client
                        .send(request(http2, "GET", "/", &token, None::new()))
                        .await
                        .status,
                    StatusCode::OK
                );
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(app.dapr.count(), 1000);
    assert_eq!(post(&world, "/echo", &app.token, "x").await.text(), "x");
}

#[tokio::test]
async fn a_shutdown_lets_requests_finish() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    let mut client = Client::http1(&world).await;
    let slow = client.begin(request(false, "GET", "/sleep/300", &app.token, None::new()));
    let ready = world.config.data_folder.join("ready");
    assert!(ready.exists());
    let shutdown = world.shutdown.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        shutdown.trigger();
    });
    assert_eq!(whole(slow.await.unwrap()).await.text(), format!("{A}/orders"));
    tokio::time::timeout(Duration::from_secs(2), world.gateway.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(!ready.exists());
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on_only_with_a_token() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    let head = "POST /count HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n";
    let answer = raw(&world, format!("{head}\r\n").as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 401 ") && !answer.contains(" 100 "),
        "{answer}"
    );
    let mut stream = tls(&world, "localhost", &[]).await;
    stream
        .write_all(format!("{head}dapr-api-token: {}\r\n\r\n", app.token).as_bytes())
        .await
        .unwrap();
    assert_eq!(read_all(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n3"),
        "{answer}"
    );
}

#[tokio::test]
async fn metrics_are_served_on_loopback_only() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut world = World::with(|config| config.metrics_listen = Some(free)).await;
    let app = world.app(A, "orders").await;
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::OK);
    let mut stream = tokio::net::TcpStream::connect(free).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    for line in [
        r#"palladium_gateway_requests_total{project="prj-aaaaaaaaaaaa",app_id="orders",class="2xx"} 1"#,
        "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n",
        "palladium_gateway_agent_connected 1",
        "palladium_gateway_upstream_connections_total 1",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
}
