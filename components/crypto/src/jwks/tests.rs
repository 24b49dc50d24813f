//! Where a set may come from, and that it is kept fresh.
//!
//! One idea: what is read is told by which keys are there. Must never depend on anything outside of this machine.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use palladium_component::Hosting;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A set with one key for each of these ids.
fn set(ids: &[&str]) -> String {
    let key = URL_SAFE_NO_PAD.encode([7; 32]);
    let keys: Vec<String> = ids
        .iter()
        .map(|id| format!(r#"{{"kty":"oct","kid":"{id}","k":"{key}"}}"#))
        .collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

async fn opened(jwks: &str, hosting: Hosting) -> Result<Arc<dyn CryptoProvider>, OpenError> {
    let pairs = [("jwks", jwks), ("minRefreshInterval", "1s"), ("requestTimeout", "2s")];
    open(OpenContext {
        hosting,
        ..OpenContext::new("keys", "app", pairs.into_iter().collect())
    })
    .await
}

async fn has(keys: &Arc<dyn CryptoProvider>, id: &str) -> bool {
    keys.wrap_key(&vec![1; 32].into(), "A256KW", id).await.is_ok()
}

/// Until it has, for a while.
async fn comes(keys: &Arc<dyn CryptoProvider>, id: &str) {
    let started = Instant::now();
    while !has(keys, id).await {
        assert!(started.elapsed() < Duration::from_secs(20), "{id} does not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_set_as_text_plain_and_in_base64() {
    for text in [set(&["a"]), format!("\n {}", set(&["a"])), STANDARD.encode(set(&["a"]))] {
        let keys = opened(&text, Hosting::SelfHosted).await.unwrap();
        assert!(has(&keys, "a").await && !has(&keys, "b").await);
    }
    for nonsense in ["", "{", "{}", "[]", "nonsense", "https://"] {
        assert!(opened(nonsense, Hosting::SelfHosted).await.is_err(), "{nonsense}");
    }
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, set(&["a"])).unwrap();
    let keys = opened(path.to_str().unwrap(), Hosting::SelfHosted).await.unwrap();
    std::fs::write(&path, "broken").unwrap();
    tokio::time::sleep(LONGER_THAN_A_LOOK).await;
    assert!(has(&keys, "a").await);
    std::fs::write(&path, set(&["a", "b"])).unwrap();
    comes(&keys, "b").await;
}

const LONGER_THAN_A_LOOK: Duration = Duration::from_millis(1500);

#[tokio::test]
async fn a_tenant_names_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, set(&["a"])).unwrap();
    let tenant = || Hosting::Platform {
        folder: folder.path().into(),
    };
    assert!(opened(path.to_str().unwrap(), tenant()).await.is_err());
    assert!(opened(&set(&["a"]), tenant()).await.is_ok());
}

#[tokio::test]
async fn sec_119_a_tenants_set_is_at_no_address_about_machines() {
    palladium_tls::install_crypto_provider();
    let tenant = Hosting::Platform { folder: "/".into() };
    for address in ["http://169.254.169.254/set", "https://[fd00:ec2::254]/set"] {
        let error = opened(address, tenant.clone()).await.err().unwrap().to_string();
        assert!(error.contains("may not be called here"), "{error}");
    }
}

#[tokio::test]
async fn an_address_is_asked_again() {
    palladium_tls::install_crypto_provider();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://user:hunter2@{}/set", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        for answer in [Some(set(&["a"])), None, Some(set(&["a", "b"]))] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            let (status, body) = match answer {
                Some(body) => ("200 OK", body),
                None => ("500 Internal Server Error", String::new()),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let keys = opened(&address, Hosting::SelfHosted).await.unwrap();
    assert!(has(&keys, "a").await);
    comes(&keys, "b").await;
    server.await.unwrap();
    let error = opened(&address, Hosting::SelfHosted).await.err().unwrap().to_string();
    assert!(
        error.contains("failed to fetch JWKS") && !error.contains("hunter2"),
        "{error}"
    );
}
