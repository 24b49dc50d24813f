//! Who gets what on the gateway listener.

use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::testing;

const PATIENCE: Duration = Duration::from_secs(20);
const PAGE: &str = "content-type: text/plain; version=0.0.4; charset=utf-8\r\n";
const COUNTED: &str = r#"dapr_http_server_request_count{app_id="orders","#;

fn id(name: &str) -> SpiffeId {
    parse(&format!("spiffe://reg-a.palladium.internal/ns/{name}")).unwrap()
}

/// What that peer gets for requests that begin so, from a Dapr Server that asks for no token.
async fn answers(peer: SpiffeId, requests: &[&str]) -> Vec<String> {
    let server = testing::open_server();
    let call = server.metrics.http("/v1.0/metadata");
    call.answered(&Method::GET, 200, Duration::ZERO, (0, None));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = HttpServer::new(testing::Proven(listener, peer), Limits::default());
    let shutdown = server.shutdown.clone();
    let serving = tokio::spawn(serve_api(server, Some(id("palladium/agent")), listener));
    let mut all = Vec::new();
    for request in requests {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{request}\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        timeout(PATIENCE, read).await.expect("closed in time").unwrap();
        all.push(answer);
    }
    shutdown.trigger();
    serving.await.unwrap();
    all
}

#[tokio::test]
async fn the_agent_gets_metrics_whatever_it_asks_for() {
    let requests = [
        "GET /metrics HTTP/1.1",
        "GET /v1.0/metadata HTTP/1.1",
        "DELETE /v1.0/state/kv/key HTTP/1.1",
        "POST /dapr.proto.runtime.v1.Dapr/GetState HTTP/1.1\r\ncontent-type: application/grpc",
    ];
    for answer in answers(id("palladium/agent"), &requests).await {
        for part in ["HTTP/1.1 200 ", PAGE, COUNTED] {
            assert!(answer.contains(part), "{part} is missing in {answer}");
        }
    }
}

#[tokio::test]
async fn the_gateway_gets_the_api_and_never_metrics() {
    let requests = ["GET /v1.0/metadata HTTP/1.1", "GET /metrics HTTP/1.1"];
    let answers = answers(id("palladium/gateway"), &requests).await;
    assert!(answers[0].starts_with("HTTP/1.1 200 ") && answers[0].contains("orders"));
    for answer in answers {
        assert!(!answer.contains(PAGE) && !answer.contains(COUNTED), "{answer}");
    }
}

#[test]
fn nobody_but_the_gateway_and_the_agent_is_admitted() {
    let admitted = either(id("palladium/gateway"), id("palladium/agent"));
    assert!(admitted(&id("palladium/gateway")) && admitted(&id("palladium/agent")));
    let elsewhere = parse("spiffe://reg-b.palladium.internal/ns/palladium/agent").unwrap();
    for stranger in [id("prj-a/stock"), id("prj-a/agent"), id("palladium/store"), elsewhere] {
        assert!(!admitted(&stranger), "{stranger:?}");
    }
}
