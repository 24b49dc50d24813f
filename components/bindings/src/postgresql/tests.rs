//! Settings, requests that go to no server, and values in the server's binary form.

use palladium_component::Hosting;
use sqlx::postgres::PgTypeInfo;
use sqlx::postgres::types::Oid;

use super::value::{Unreadable, oid, write};
use super::*;

fn context(pairs: &[(&str, &str)]) -> OpenContext {
    let server = ("connectionString", "host=127.0.0.1 port=1 user=u password=hunter2");
    OpenContext::new("b", "app", [server].into_iter().chain(pairs.iter().copied()).collect())
}

#[tokio::test]
async fn no_server_is_a_clear_error_without_secrets() {
    let error = open(context(&[])).await.err().unwrap();
    assert!(matches!(error, OpenError::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let error = open(context(&[("queryExecMode", "fast")]))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("'queryExecMode'"), "{error}");
    let hosting = Hosting::Platform { folder: "/".into() };
    let socket = OpenContext::new("b", "app", [("host", "/run/postgresql")].into_iter().collect());
    let refused = open(OpenContext { hosting, ..socket }).await;
    assert!(matches!(refused, Err(OpenError::NotAllowed(_))));
}

#[test]
fn params_are_an_array() {
    let read = |text: &str| parameters(&[("params".to_owned(), text.to_owned())].into());
    assert_eq!(read(r#"[1, "a", null]"#).unwrap().len(), 3);
    assert!(read("").unwrap().is_empty() && read("null").unwrap().is_empty());
    for wrong in ["{}", "1", "[1", "hunter2"] {
        let error = read(wrong).unwrap_err().to_string();
        assert!(
            error.starts_with("invalid metadata property params") && !error.contains("hunter2"),
            "{error}"
        );
    }
}

fn written(kind: u32, bytes: &[u8]) -> Result<String, Unreadable> {
    let mut text = String::new();
    write(&mut text, &PgTypeInfo::with_oid(Oid(kind)), Some(bytes)).map(|()| text)
}

#[test]
fn values_that_are_cut_are_no_panic() {
    for kind in [
        oid::BOOL,
        oid::INT2,
        oid::INT4,
        oid::INT8,
        oid::OID,
        oid::FLOAT4,
        oid::FLOAT8,
        oid::NUMERIC,
        oid::UUID,
        oid::TIMESTAMPTZ,
        oid::DATE,
        oid::TIME,
        oid::INTERVAL,
        oid::INET,
        oid::JSONB,
    ] {
        for length in [0, 1, 3, 5, 7] {
            let _ = written(kind, &vec![0xFF; length]);
        }
        assert_eq!(written(kind, &[]), Err(Unreadable::Value), "{kind}");
    }
    assert_eq!(written(oid::TEXT, &[0xFF]), Err(Unreadable::Value));
    assert_eq!(written(oid::FLOAT8, &f64::NAN.to_be_bytes()), Err(Unreadable::Value));
    assert_eq!(written(oid::TIMESTAMP, &i64::MAX.to_be_bytes()).unwrap(), "1");
}
