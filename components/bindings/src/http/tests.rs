//! What goes out and what comes back, against a server of a few lines.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Answers one request with `answer` and gives back what was asked.
async fn served(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = stream.read(&mut piece).await.unwrap();
            text.extend_from_slice(&piece[..count]);
            if count == 0 || text.ends_with(b"\r\n\r\n") || text.ends_with(b"BODY") {
                break;
            }
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(text).unwrap()
    });
    (format!("http://{address}/base/"), asked)
}

async fn binding(url: &str, more: &[(&str, &str)]) -> Arc<dyn Binding> {
    let properties = more.iter().copied().chain([("url", url)]).collect();
    palladium_tls::install_crypto_provider();
    open(OpenContext::new("b", "app", properties)).await.unwrap()
}

fn operation(name: &str, data: &'static str, metadata: &[(&str, &str)]) -> Operation {
    Operation {
        name: name.to_owned(),
        data: data.into(),
        metadata: metadata
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    }
}

#[tokio::test]
async fn metadata_become_headers_and_the_token_goes_along() {
    let (url, asked) = served("HTTP/1.1 201 Created\r\nx-a: 1\r\nx-a: 2\r\ncontent-length: 2\r\n\r\nok").await;
    let binding = binding(&url, &[("securityTokenHeader", "X-Token"), ("securityToken", "t")]).await;
    let metadata = [
        ("path", "/more"),
        ("X-Mine", "m"),
        ("other", "o"),
        ("traceparent", "tp"),
    ];
    let answer = binding.invoke(&operation("create", "BODY", &metadata)).await.unwrap();
    assert_eq!(answer.data.as_deref(), Some(&b"ok"[..]));
    assert_eq!(answer.metadata["statusCode"], "201");
    assert_eq!(answer.metadata["X-A"], "1, 2");
    let asked = asked.await.unwrap().to_lowercase();
    assert!(asked.starts_with("post /base/more http/1.1\r\n"), "{asked}");
    for line in [
        "x-mine: m",
        "x-token: t",
        "traceparent: tp",
        "content-type: application/json; charset=utf-8",
    ] {
        assert!(asked.contains(&format!("\r\n{line}\r\n")), "{line} in {asked}");
    }
    assert!(!asked.contains("other"), "{asked}");
}

#[tokio::test]
async fn a_status_is_an_error_unless_told_otherwise() {
    for (said, is_error) in [("", true), ("false", false)] {
        let (url, _asked) = served("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
        let outcome = binding(&url, &[])
            .await
            .invoke(&operation("get", "", &[("errorIfNot2XX", said)]))
            .await;
        match outcome {
            Err(error) => {
                assert!(is_error && error.to_string() == "received status code 404", "{error}");
                assert_eq!(error.metadata["statusCode"], "404");
            }
            Ok(answer) => assert!(!is_error && answer.metadata["status"] == "404 Not Found"),
        }
    }
}

#[tokio::test]
async fn a_long_answer_is_cut_and_a_path_stays_at_its_host() {
    let (url, _asked) = served("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabcdef").await;
    let answer = binding(&url, &[("maxResponseBodySize", "4")]).await;
    let answer = answer.invoke(&operation("get", "", &[])).await.unwrap();
    assert_eq!(answer.data.as_deref(), Some(&b"abcd"[..]));
    let far = binding("http://host", &[]).await;
    let error = far.invoke(&operation("get", "", &[("path", "@other/x")])).await;
    assert!(error.is_err(), "a path that would end the host's name");
    let error = far.invoke(&operation("dance", "", &[])).await.unwrap_err();
    assert_eq!(error.to_string(), "invalid operation: dance");
}
