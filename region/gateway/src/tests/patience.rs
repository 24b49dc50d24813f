//! Dapr Servers that restart, are away, or are lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;

use super::client::{Client, get, post, request};
use super::dapr::Dapr;
use super::world::{A, World};

#[tokio::test]
async fn a_request_waits_for_a_restart_and_is_sent_once() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::OK);
    let port = app.dapr.address.port();
    app.dapr.stop().await;
    let world = Arc::new(world);
    let mut waiting = Vec::new();
    for number in 0..20 {
        let (world, token) = (world.clone(), app.token.clone());
        waiting.push(tokio::spawn(async move {
            let http2 = number % 2 == 0;
            let mut client = if http2 {
                Client::http2(&world).await
            } else {
                Client::http1(&world).await
            };
            client
                .send(request(
                    http2,
                    "POST",
                    "/count",
                    &token,
                    Full::new(Bytes::from(vec![1; 70_000])),
                ))
                .await
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let again = Dapr::start(&world.ca, A, "orders", port);
    for answer in waiting {
        let answer = answer.await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "70000"));
    }
    assert_eq!(again.count(), 20);
}

#[tokio::test]
async fn a_restart_on_another_address_is_found_by_the_new_table() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    world.table.routes[0].ready = false;
    world.publish().await;
    app.dapr.stop().await;
    let began = Instant::now();
    let again = Dapr::start(&world.ca, A, "orders", 0);
    world.table.routes[0].address = again.address.to_string();
    world.table.routes[0].ready = true;
    let (answer, ()) = tokio::join!(get(&world, "/", &app.token), async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        world.agent.agent.table.send_replace({
            let mut table = world.table.clone();
            table.version += 1;
            table
        });
    });
    assert_eq!(answer.status, StatusCode::OK);
    assert!(began.elapsed() >= Duration::from_millis(400) && began.elapsed() < Duration::from_millis(1500));
}

#[tokio::test]
async fn waiting_ends_after_the_bound_with_503_and_sends_nothing_later() {
    let mut world = World::with(|config| config.limits.hold_ms = 500).await;
    let app = world.app(A, "orders").await;
    let port = app.dapr.address.port();
    app.dapr.stop().await;
    let began = Instant::now();
    let answer = post(&world, "/count", &app.token, "x").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().contains("ERR_UNAVAILABLE"));
    assert!(began.elapsed() >= Duration::from_millis(450) && began.elapsed() < Duration::from_secs(2));
    let mut client = Client::http2(&world).await;
    let mut call = request(true, "POST", "/s/M", &app.token, Full::new(Bytes::new()));
    call.headers_mut()
        .insert("content-type", "application/grpc+proto".parse().unwrap());
    let answer = client.send(call).await;
    assert_eq!((answer.status, answer.grpc()), (StatusCode::OK, Some("14")));
    assert_eq!(answer.headers["content-type"], "application/grpc");
    let again = Dapr::start(&world.ca, A, "orders", port);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(again.count(), 0);
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_loses_its_token_while_waiting_is_not_let_in() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    world.table.routes[0].ready = false;
    world.publish().await;
    world.table.routes[0].tokens.clear();
    world.table.routes[0].ready = true;
    let (answer, ()) = tokio::join!(get(&world, "/", &app.token), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut table = world.table.clone();
        table.version += 1;
        world.agent.agent.table.send_replace(table);
    });
    assert_eq!((answer.status, app.dapr.count()), (StatusCode::UNAUTHORIZED, 0));
}

#[tokio::test]
async fn only_so_many_wait() {
    let mut world = World::with(|config| {
        config.limits.held = 2;
        config.limits.hold_ms = 700;
    })
    .await;
    let app = world.app(A, "orders").await;
    world.table.routes[0].ready = false;
    world.publish().await;
    let asked = |_| async {
        let began = Instant::now();
        assert_eq!(
            get(&world, "/", &app.token).await.status,
            StatusCode::SERVICE_UNAVAILABLE
        );
        began.elapsed()
    };
    let (a, b, c, d) = tokio::join!(asked(0), asked(1), asked(2), asked(3));
    let waited = [a, b, c, d]
        .into_iter()
        .filter(|time| *time > Duration::from_millis(600))
        .count();
    assert_eq!(waited, 2);
}

#[tokio::test]
async fn a_request_that_was_sent_is_never_sent_again() {
    for http2 in [false, true] {
        let mut world = World::new().await;
        let app = world.app(A, "orders").await;
        let port = app.dapr.address.port();
        let mut client = if http2 {
            Client::http2(&world).await
        } else {
            Client::http1(&world).await
        };
        let asked = request(
            http2,
            "POST",
            "/sleep/5000",
            &app.token,
            Full::new(Bytes::from_static(b"x")),
        );
        let task = tokio::spawn(async move { client.send(asked).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(app.dapr.count(), 1);
        app.dapr.stop().await;
        let again = Dapr::start(&world.ca, A, "orders", port);
        let answer = task.await.unwrap();
        assert_eq!(
            (answer.status, again.count()),
            (StatusCode::SERVICE_UNAVAILABLE, 0),
            "http2: {http2}"
        );
    }
}

#[tokio::test]
async fn a_route_without_a_dapr_server_is_503_and_an_unknown_host_404() {
    let mut world = World::with(|config| config.limits.hold_ms = 50).await;
    let app = world.app(A, "orders").await;
    world.table.routes[0].address.clear();
    world.publish().await;
    assert_eq!(
        get(&world, "/", &app.token).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    world.hosts(&[(A, "http-a.test")]).await;
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::NOT_FOUND);
}
