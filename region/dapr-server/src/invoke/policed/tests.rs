//! What becomes of calls that a policy of the user's speaks of.

use std::time::Duration;

use http_body_util::Limited;
use palladium_engine_resiliency::Cut;
use palladium_http::Upload;
use serde_json::json;

use super::*;
use crate::invoke::tests::{Service, app, post, server, shown};
use crate::resources::ResiliencyResource;

/// A Dapr Server whose own application is called through these policies.
async fn policed(policies: serde_json::Value, statuses: &'static [u16]) -> (Server, Service) {
    let (server, service) = (server(true), Service::start(statuses).await);
    app(&server, &service);
    let resource = ResiliencyResource {
        name: "test".to_owned(),
        namespace: String::new(),
        spec: json!({
            "policies": policies,
            "targets": {"apps": {"orders": {"retry": "r", "circuitBreaker": "b", "timeout": "t"}}},
        }),
    };
    assert_eq!(crate::resiliency::load(&server, vec![resource]), []);
    (server, service)
}

async fn call(server: &Server, method: &str, body: Body) -> Result<Reply, InvokeError> {
    super::super::invoke(server, post("orders", method, &[], body)).await
}

fn retries() -> serde_json::Value {
    json!({"retries": {"r": {"policy": "constant", "duration": "1ms", "maxRetries": 3}}})
}

/// A body whose length nobody knows.
fn streamed(server: &Server) -> Body {
    let body = server.budget.hold().meter(Upload::whole("hello".into())).passing();
    Body::Limited(Limited::new(body, 100))
}

#[tokio::test]
async fn a_failure_is_repeated_with_the_same_body_until_it_is_none() {
    let (server, service) = policed(retries(), &[500, 503, 200]).await;
    let reply = call(&server, "m", Body::from("hello")).await.expect("answered");
    assert_eq!(shown(reply).await, (200, "answer 3".into()));
    let asked = service.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|(_, body)| body == "hello"));
}

#[tokio::test]
async fn the_last_failure_is_given_back_as_it_is() {
    let (server, service) = policed(retries(), &[500, 500, 500, 404]).await;
    let reply = call(&server, "m", Body::Empty).await.expect("answered");
    assert_eq!(shown(reply).await, (404, "answer 4".into()));
    assert_eq!(service.asked().len(), 4);
}

#[tokio::test]
async fn what_is_not_here_whole_is_sent_once() {
    let (server, service) = policed(retries(), &[500]).await;
    let mut call = post("orders", "m", &[], streamed(&server));
    call.length = None;
    let reply = super::super::invoke(&server, call).await.expect("answered");
    assert_eq!(shown(reply).await, (500, "answer 1".into()));
    assert_eq!(service.asked().len(), 1);
}

#[tokio::test]
async fn a_method_that_cannot_be_called_is_not_repeated() {
    let (server, service) = policed(retries(), &[200]).await;
    let refused = call(&server, "a?b", Body::Empty).await;
    assert!(matches!(refused, Err(InvokeError::Method(_))), "{refused:?}");
    assert!(service.asked().is_empty());
}

#[tokio::test]
async fn an_open_circuit_breaker_answers_in_place_of_the_application() {
    let breaker = json!({"circuitBreakers": {"b": {"timeout": "60s", "trip": "consecutiveFailures >= 2"}}});
    let (server, service) = policed(breaker, &[500]).await;
    for _ in 0..2 {
        assert_eq!(
            shown(call(&server, "m", Body::Empty).await.expect("answered")).await.0,
            500
        );
    }
    let refused = call(&server, "m", Body::Empty).await;
    assert!(matches!(refused, Err(InvokeError::Cut(Cut::Open))), "{refused:?}");
    assert_eq!(service.asked().len(), 2);
    // Another method has a breaker of its own.
    assert!(call(&server, "other", Body::Empty).await.is_ok());
}

#[tokio::test]
async fn streamed_calls_count_for_the_circuit_breaker_too() {
    let breaker = json!({"circuitBreakers": {"b": {"timeout": "60s", "trip": "consecutiveFailures >= 1"}}});
    let (server, service) = policed(breaker, &[500]).await;
    let mut first = post("orders", "m", &[], streamed(&server));
    first.length = None;
    let reply = super::super::invoke(&server, first).await.expect("answered");
    assert_eq!(shown(reply).await, (500, "answer 1".into()));
    let refused = call(&server, "m", streamed(&server)).await;
    assert!(matches!(refused, Err(InvokeError::Cut(Cut::Open))), "{refused:?}");
    assert_eq!(service.asked().len(), 1);
}

#[tokio::test]
async fn a_late_answer_is_a_failure_in_the_originals_words() {
    let (server, _service) = policed(json!({"timeouts": {"t": "20ms"}}), &[200]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("any port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let silent = crate::app_channel::AppChannel::endpoint(&url, crate::config::AppProtocol::Http, None, None, false);
    server.app.store(Some(std::sync::Arc::new(silent.expect("sound"))));
    let late = tokio::time::timeout(Duration::from_secs(5), call(&server, "m", Body::Empty)).await;
    let error = late.expect("cut short").expect_err("no answer");
    assert_eq!(error.to_string(), "context deadline exceeded");
    assert_eq!(error.fault("orders").status(), 500);
}
