//! A server for tests that stands where a model's service would be: it looks at what came and answers what it was told.
//!
//! One idea: a real socket and real HTTP, and both services' own paths; the model alone is made up. Must never be linked into
//! anything but tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, StatusCode, Uri};
use palladium_component::conversation::{Message, Role};
use serde_json::Value;

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// What is answered.
pub(crate) enum Told {
    Json(Value),
    Text(u16, &'static [(&'static str, &'static str)], String),
    /// Nothing, for ever.
    Silence,
}

type Shared = Arc<Mutex<(VecDeque<Told>, Vec<Asked>)>>;

pub(crate) struct FakeServer {
    pub(crate) address: String,
    shared: Shared,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl FakeServer {
    pub(crate) async fn start(answers: impl IntoIterator<Item = Told>) -> Self {
        palladium_tls::install_crypto_provider();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared: Shared = Arc::new(Mutex::new((answers.into_iter().collect(), Vec::new())));
        let app = Router::new().fallback(any(answer)).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            shared,
            serving,
        }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.lock().unwrap().1.clone()
    }
}

async fn answer(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: String) -> Response {
    let told = {
        let mut shared = shared.lock().unwrap();
        shared.1.push(Asked {
            path: uri.to_string(),
            headers,
            body: serde_json::from_str(&body).unwrap(),
        });
        shared.0.pop_front().expect("one call more than answers")
    };
    match told {
        Told::Json(value) => axum::Json(value).into_response(),
        Told::Text(status, headers, body) => {
            let mut answer = body.into_response();
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                answer.headers_mut().insert(*name, value.parse().unwrap());
            }
            answer
        }
        Told::Silence => std::future::pending().await,
    }
}

/// Something said.
pub(crate) fn said(role: Role, text: &str) -> Message {
    Message {
        role,
        content: vec![text.to_owned()],
        tool_calls: Vec::new(),
        tool_id: String::new(),
        name: String::new(),
    }
}

/// Answers that are none, with what is told about them.
pub(crate) fn failures(key: &str) -> Vec<(Told, &'static str)> {
    let quoting = format!(r#"{{"error":{{"message":"wrong key {key}","type":"{key}","code":"invalid_api_key"}}}}"#);
    let limited = r#"{"error":{"type":"rate_limit_error","code":"rate_limit_error","message":"my secret plan"}}"#;
    let status = |status, body: &str| Told::Text(status, &[], body.to_owned());
    vec![
        (status(401, &quoting), "the model answered 401 (invalid_api_key)"),
        (
            Told::Text(429, &[("retry-after", "20")], limited.to_owned()),
            "the model answered 429 (rate_limit_error, retry after 20s)",
        ),
        (
            Told::Text(503, &[("retry-after", "my secret plan")], "my secret plan".to_owned()),
            "the model answered 503",
        ),
        (
            Told::Text(302, &[("location", "http://127.0.0.1:1/")], String::new()),
            "the model answered 302",
        ),
        (
            status(200, "my secret plan"),
            "the model's answer cannot be read at line 1, column 1",
        ),
        (
            status(200, r#"{"choices":"my secret plan","content":"my secret plan"}"#),
            "the model's answer cannot be read at",
        ),
        (
            status(200, &"x".repeat(crate::call::MAX_ANSWER + 1)),
            "the model: the answer has more than 8388608 bytes",
        ),
        (Told::Silence, "the model did not answer: "),
    ]
}
