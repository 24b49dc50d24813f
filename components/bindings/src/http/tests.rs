//! What goes out and what comes back, against a server of a few lines.

use palladium_component::Hosting;
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

#[tokio::test]
async fn sec_065_a_redirect_leads_a_hosted_binding_nowhere_else() {
    let (far, asked_there) = served("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let answer = format!("HTTP/1.1 302 Found\r\nlocation: {far}\r\ncontent-length: 0\r\n\r\n");
    let (url, _asked) = served(answer.leak()).await;
    let properties = [
        ("url", url.as_str()),
        ("securityTokenHeader", "X-Token"),
        ("securityToken", "t"),
    ];
    palladium_tls::install_crypto_provider();
    let hosting = Hosting::Platform { folder: "/".into() };
    let context = OpenContext::new("b", "app", properties.into_iter().collect());
    let binding = open(OpenContext { hosting, ..context }).await.unwrap();
    let error = binding.invoke(&operation("get", "", &[])).await.unwrap_err();
    assert_eq!(error.metadata["statusCode"], "302");
    assert!(!asked_there.is_finished(), "the other host was asked");
}

#[tokio::test]
async fn sec_119_a_hosted_binding_calls_no_address_about_machines() {
    palladium_tls::install_crypto_provider();
    let opened = async |url: &str| {
        let properties = [("url", url)].into_iter().collect();
        let hosting = Hosting::Platform { folder: "/".into() };
        open(OpenContext {
            hosting,
            ..OpenContext::new("b", "app", properties)
        })
        .await
    };
    // Also in a spelling that the URL parser undoes.
    for url in [
        "http://169.254.169.254/",
        "http://0xa9.0xfe.43518/",
        "http://[::ffff:a9fe:a9fe]/",
    ] {
        assert!(matches!(opened(url).await, Err(OpenError::Metadata(_))), "{url}");
    }
    assert!(opened("http://127.0.0.1/").await.is_ok(), "the owner's to refuse");
}

#[tokio::test]
async fn a_caller_sets_no_header_of_the_connection_and_sees_no_token() {
    let (url, asked) = served("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let binding = binding(&url, &[("securityTokenHeader", "X-Token"), ("securityToken", "t")]).await;
    let shown = binding.invoke(&operation("trace", "", &[])).await.unwrap_err();
    assert!(shown.to_string().contains("trace"), "{shown}");
    let claims = [
        ("Host", "evil"),
        ("Content-Length", "50"),
        ("X-Token", "mine"),
        ("X-Mine", "m"),
    ];
    binding.invoke(&operation("get", "", &claims)).await.unwrap();
    let asked = asked.await.unwrap().to_lowercase();
    assert!(asked.contains("x-mine: m") && asked.contains("x-token: t"), "{asked}");
    for claim in ["evil", "content-length: 50", "x-token: mine"] {
        assert!(!asked.contains(claim), "{claim} in {asked}");
    }
}

#[tokio::test]
async fn half_an_address_is_refused() {
    for url in ["http:host/", "http:\\\\host/", "ftp://host/", "host", ""] {
        let properties = [("url", url)].into_iter().collect();
        let opened = open(OpenContext::new("b", "app", properties)).await;
        assert!(matches!(opened, Err(OpenError::Metadata(_))), "{url}");
    }
}

#[test]
fn a_bare_number_of_the_timeout_is_seconds() {
    for (said, seconds) in [("5", 5), ("1m", 60)] {
        let properties = [("url", "http://h"), ("responseTimeout", said)].into_iter().collect();
        let metadata = HttpMetadata::parse(&properties).unwrap();
        assert_eq!(metadata.response_timeout, Some(Duration::from_secs(seconds)), "{said}");
    }
}
