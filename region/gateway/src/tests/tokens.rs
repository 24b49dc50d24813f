//! Who gets in: tokens, hosts, revocation, and what is said about it.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use palladium_launch::app_token;
use secrecy::ExposeSecret;

use super::client::{Client, get, raw, request, tls};
use super::world::{A, B, World, digest};

type None = Empty<Bytes>;

#[tokio::test]
async fn sec_047_missing_empty_double_and_query_tokens_are_401() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    let token = &app.token;
    let head = "GET /v1.0/metadata HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    for lines in [
        String::new(),
        "dapr-api-token:\r\n".to_owned(),
        format!("dapr-api-token: {token}\r\ndapr-api-token: {token}\r\n"),
        format!("dapr-api-token: {token}, {token}\r\n"),
        format!("dapr-api-token: {token}x\r\n"),
        format!("dapr_api_token: {token}\r\n"),
        format!("authorization: Bearer {token}\r\n"),
    ] {
        let answer = raw(&world, format!("{head}{lines}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{lines}: {answer}");
        assert!(
            answer.contains(r#"{"errorCode":"ERR_UNAUTHENTICATED","message":"invalid api token"}"#),
            "{answer}"
        );
    }
    for query in [format!("dapr-api-token={token}"), format!("a=b&DAPR-API-TOKEN={token}")] {
        let target = format!("GET /v1.0/metadata?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for line in [String::new(), format!("dapr-api-token: {token}\r\n")] {
            assert!(
                raw(&world, format!("{target}{line}\r\n").as_bytes())
                    .await
                    .starts_with("HTTP/1.1 401 ")
            );
        }
    }
    assert_eq!(app.dapr.count(), 0);
    assert_eq!(get(&world, "/v1.0/metadata", token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn sec_048_a_wrong_checksum_is_401_without_a_look_up() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    let mut wrong = app.token.clone();
    let last = if wrong.pop() == Some('a') { 'b' } else { 'a' };
    wrong.push(last);
    // Even a table that has the digest of the wrong token does not let it in: the form is judged first.
    world.table.routes[0].tokens.push(digest(&wrong, 0));
    world.publish().await;
    assert_eq!(get(&world, "/", &wrong).await.status, StatusCode::UNAUTHORIZED);
    let unknown = app_token::mint().unwrap();
    assert_eq!(
        get(&world, "/", unknown.expose_secret()).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(app.dapr.count(), 0);
}

#[tokio::test]
async fn sec_049_a_token_at_another_projects_host_is_403() {
    let mut world = World::new().await;
    let (a, b) = (world.app(A, "orders").await, world.app(B, "orders").await);
    world.hosts(&[(A, "http-a.test"), (B, "http-b.test")]).await;
    let mut statuses = Vec::new();
    for host in ["http-a.test", "http-b.test", "http-c.test"] {
        let mut client = Client::<None>::http2_to(&world, host).await;
        for token in [&a.token, &b.token] {
            let request = request(true, "GET", "/", token, None::new());
            let (mut head, body) = request.into_parts();
            head.uri = format!("https://{host}/").parse().unwrap();
            statuses.push(client.send(http::Request::from_parts(head, body)).await.status.as_u16());
        }
    }
    assert_eq!(statuses, [200, 403, 403, 200, 404, 404]);
    assert_eq!((a.dapr.count(), b.dapr.count()), (1, 1));
    // Without a token the answer is the same at every host: nobody learns which exist.
    for host in ["http-a.test", "http-c.test"] {
        let mut client = Client::<None>::http2_to(&world, host).await;
        let request = http::Request::get(format!("https://{host}/"))
            .body(None::new())
            .unwrap();
        assert_eq!(client.send(request).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn sec_050_an_old_token_ends_with_its_overlap() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    let new = app_token::mint().unwrap().expose_secret().to_owned();
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    world.table.routes[0].tokens = vec![digest(&app.token, now + 2), digest(&new, 0)];
    world.publish().await;
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::OK);
    assert_eq!(get(&world, "/", &new).await.status, StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(get(&world, "/", &app.token).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(get(&world, "/", &new).await.status, StatusCode::OK);
}

#[tokio::test]
async fn sec_051_revocation_takes_effect_at_once_on_live_connections_and_streams() {
    let mut world = World::with(|config| config.workers = Some(2)).await;
    let app = world.app(A, "orders").await;
    let (mut one, mut two) = (Client::<None>::http1(&world).await, Client::<None>::http2(&world).await);
    assert_eq!(
        one.send(request(false, "GET", "/", &app.token, None::new()))
            .await
            .status,
        StatusCode::OK
    );
    let mut stream = two
        .begin(request(true, "GET", "/hang/10", &app.token, None::new()))
        .await
        .unwrap()
        .into_body();
    assert_eq!(stream.frame().await.unwrap().unwrap().into_data().unwrap().len(), 10);
    world.table.routes[0].tokens.clear();
    let began = Instant::now();
    world.publish().await;
    assert_eq!(
        one.send(request(false, "GET", "/", &app.token, None::new()))
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    assert!(
        tokio::time::timeout(Duration::from_secs(2), stream.frame())
            .await
            .unwrap()
            .unwrap()
            .is_err()
    );
    assert!(began.elapsed() < Duration::from_secs(2));
    // The agent has been told that the new table is in force.
    world.until_reported(world.table.version).await;
}

#[tokio::test]
async fn the_last_table_serves_with_the_agent_away_and_holds_no_token() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    let revoked = world.app(A, "gone").await;
    world.table.routes[1].tokens.clear();
    world.publish().await;
    let file = world.config.data_folder.join("routes.pb");
    world.until_reported(world.table.version).await;
    world.agent.kill();
    let world = world.restart().await;
    assert_eq!(get(&world, "/", &app.token).await.text(), format!("{A}/orders"));
    assert_eq!(get(&world, "/", &revoked.token).await.status, StatusCode::UNAUTHORIZED);
    let bytes = std::fs::read(file).unwrap();
    assert!(memchr::memmem::find(&bytes, &app.token.as_bytes()[5..40]).is_none());
}

#[tokio::test]
async fn sec_062_host_server_name_and_authority_must_agree() {
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    let token = &app.token;
    for (target, host) in [
        ("/", "http-a.test"),
        ("https://http-a.test/", "localhost"),
        ("https://http-a.test/", "http-a.test"),
        ("https://localhost/", "http-a.test"),
    ] {
        let head =
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\ndapr-api-token: {token}\r\nConnection: close\r\n\r\n");
        assert!(
            raw(&world, head.as_bytes()).await.starts_with("HTTP/1.1 421 "),
            "{target} {host}"
        );
    }
    for lines in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: a b\r\n",
        "Host: x@localhost\r\n",
    ] {
        let head = format!("GET / HTTP/1.1\r\n{lines}dapr-api-token: {token}\r\nConnection: close\r\n\r\n");
        assert!(
            raw(&world, head.as_bytes()).await.starts_with("HTTP/1.1 400 "),
            "{lines}"
        );
    }
    let mut client = Client::<None>::http2(&world).await;
    let mut forged = request(true, "GET", "/", token, None::new());
    forged.headers_mut().insert("host", "http-a.test".parse().unwrap());
    assert_eq!(client.send(forged).await.status, StatusCode::MISDIRECTED_REQUEST);
    let mut forged = request(true, "GET", "/", token, None::new());
    *forged.uri_mut() = "https://http-a.test/".parse().unwrap();
    assert_eq!(client.send(forged).await.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(app.dapr.count(), 0);
    let head = format!(
        "GET https://localhost/x HTTP/1.1\r\nHost: LOCALHOST:8443\r\ndapr-api-token: {token}\r\nConnection: close\r\n\r\n"
    );
    assert!(raw(&world, head.as_bytes()).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(app.dapr.last().target, "/x");
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn sec_066_a_token_is_in_no_log_no_metric_and_no_answer() {
    let captured = Captured::default();
    let writer = captured.clone();
    // The workers are threads of their own, so the subscriber is the whole process's.
    tracing_subscriber::fmt()
        .with_env_filter("debug,palladium_gateway=trace,palladium_http=trace,palladium_tls=trace")
        .with_writer(move || writer.clone())
        .init();
    let mut world = World::new().await;
    let app = world.app(A, "orders").await;
    let token = &app.token;
    let secret = &token[14..57];
    let mut answers = String::new();
    for bytes in [
        format!(
            "GET /ok?secret={secret} HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: {token}\r\nConnection: close\r\n\r\n"
        ),
        format!("GET /die/5 HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: {token}\r\n\r\n"),
        format!("GET /?dapr-api-token={token} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET /{token} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("{token} / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {token}\r\ndapr-api-token: {token}\r\n\r\n"),
        format!("GET /%zz HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: {token}\r\n\r\n"),
        format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {token}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{token}: {token}\r\nbad header {token}\r\n\r\n"),
    ] {
        answers += &raw(&world, bytes.as_bytes()).await;
    }
    let mut client = Client::<None>::http2(&world).await;
    assert_eq!(
        client
            .send(request(true, "GET", &format!("/v1.0?x={secret}"), token, None::new()))
            .await
            .status,
        200
    );
    assert_eq!(
        client
            .send(request(true, "GET", "/die/5", token, None::new()))
            .await
            .status,
        200
    );
    drop(tls(&world, "localhost", &[]).await);
    app.dapr.stop().await;
    answers += &get(&world, "/v1.0/state/x", token).await.text();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let log = String::from_utf8_lossy(&captured.0.lock().unwrap()).into_owned();
    let metrics = world.gateway.shared.metrics.text();
    assert!(
        log.contains("palladium_gateway::access") && log.contains("/v1.0/state/x"),
        "nothing was captured"
    );
    assert!(
        metrics
            .contains(r#"palladium_gateway_requests_total{project="prj-aaaaaaaaaaaa",app_id="orders",class="5xx"} 1"#),
        "{metrics}"
    );
    for (name, text) in [("log", &log), ("metrics", &metrics), ("answers", &answers)] {
        assert!(!text.contains(secret), "the {name} holds the token");
    }
}
