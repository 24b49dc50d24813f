//! Where modules come from, and what is none.
//!
//! Must never call anybody but this machine.

use axum::Router;
use axum::routing::get;
use palladium_component::{Hosting, MetadataError};

use super::*;

async fn from(url: &str) -> Result<Arc<dyn Middleware>, OpenError> {
    open(OpenContext::new("module", "app", [("url", url)].into_iter().collect())).await
}

#[tokio::test]
async fn a_module_is_fetched_from_a_web_server() {
    palladium_tls::install_crypto_provider();
    let code = wat::parse_str(format!(
        "(module (memory (export \"memory\") 1) {GOES_ON} {NOTHING_BACK})"
    ))
    .unwrap();
    let served = Router::new()
        .route("/a.wasm", get(move || async move { code }))
        .route("/long.wasm", get(async || vec![0_u8; 17 << 20]));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, served).await });
    assert!(from(&format!("http://{address}/a.wasm")).await.is_ok());
    for (path, reason) in [("/other", "received 404 status code"), ("/long.wasm", "more than")] {
        let error = from(&format!("http://{address}{path}")).await.err().unwrap();
        assert!(
            matches!(&error, OpenError::Unavailable(words) if words.contains(reason)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn only_a_process_of_ones_own_may_have_modules() {
    let context = OpenContext {
        hosting: Hosting::Platform {
            folder: "/nowhere".into(),
        },
        ..OpenContext::new("module", "app", [("url", "file:///etc/passwd")].into_iter().collect())
    };
    let opened = crate::DRIVERS.open("middleware.http.wasm", "v1", context).await;
    let error = opened.err().unwrap();
    assert!(matches!(error, OpenError::NotAllowed(_)), "{error}");
}

#[tokio::test]
async fn what_is_no_module_is_refused_by_name() {
    for url in [
        "",
        "a.wasm",
        "oci://a/b",
        "ftp://h/a.wasm",
        "https://",
        "file:///nowhere/a.wasm",
    ] {
        let error = from(url).await.err().expect(url);
        assert!(
            matches!(&error, OpenError::Metadata(MetadataError { field, .. }) if field == "url"),
            "{url}: {error}"
        );
    }
    let memory = "(memory (export \"memory\") 1)";
    for (text, reason) in [
        (
            format!("(module {memory} {NOTHING_BACK})"),
            "guest doesn't export func[handle_request]",
        ),
        (
            format!("(module {memory} {GOES_ON})"),
            "guest doesn't export func[handle_response]",
        ),
        (
            format!("(module {GOES_ON} {NOTHING_BACK})"),
            "guest doesn't export memory[memory]",
        ),
        (
            format!("(module {memory} {NOTHING_BACK} (func (export \"handle_request\")))"),
            "wrong signature for func[handle_request]",
        ),
        (
            format!("(module (import \"env\" \"f\" (func)) {memory} {GOES_ON} {NOTHING_BACK})"),
            "cannot be started",
        ),
        (
            format!("(module (import \"http_handler\" \"log\" (func)) {memory} {GOES_ON} {NOTHING_BACK})"),
            "cannot be started",
        ),
    ] {
        let error = opened(&text, &[])
            .await
            .err()
            .unwrap_or_else(|| panic!("{text}"))
            .to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no module").unwrap();
    assert!(from(&format!("file://{}", file.path().display())).await.is_err());
}
