//! `bindings.redis` over a real server.
//!
//! One idea: what the binding did is what the server says it holds. Must never pass without a server.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use palladium_component::bindings::{Answer, Binding, BindingError, Operation};
use palladium_component::{CallError, OpenContext};
use palladium_peers::redis_server::RedisServer;
use redis::cmd;

async fn call(
    binding: &Arc<dyn Binding>,
    name: &str,
    data: &'static [u8],
    metadata: &[(&str, &str)],
) -> Result<Answer, BindingError> {
    let pair = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    let operation = Operation {
        name: name.to_owned(),
        data: data.into(),
        metadata: metadata.iter().map(pair).collect(),
    };
    binding.invoke(&operation).await
}

#[tokio::test]
async fn keys_are_created_read_counted_and_deleted() {
    let server = RedisServer::start().await;
    let mut connection = server.connection().await;
    let drivers = palladium_components_bindings::DRIVERS;
    let properties = server.metadata().into_iter().collect();
    let binding = drivers
        .open("bindings.redis", "", OpenContext::new("b", "app", properties))
        .await
        .unwrap();
    assert!(binding.ways().out && !binding.ways().into);
    let get = async |key: &str| call(&binding, "get", b"", &[("key", key)]).await.unwrap().data;

    assert_eq!(get("k").await, None);
    let answer = call(&binding, "create", b"\x00\xffv", &[("key", "k")]).await.unwrap();
    assert!(answer.data.is_none() && answer.metadata.is_empty());
    assert_eq!(get("k").await.as_deref(), Some(&b"\x00\xffv"[..]));
    let lives: i64 = cmd("TTL").arg("k").query_async(&mut connection).await.unwrap();
    assert_eq!(lives, -1);
    let last = call(&binding, "get", b"", &[("key", "k"), ("delete", "true")])
        .await
        .unwrap();
    assert_eq!(last.data.as_deref(), Some(&b"\x00\xffv"[..]));
    assert_eq!(get("k").await, None);

    for _ in 0..3 {
        call(&binding, "increment", b"", &[("key", "n"), ("ttlInSeconds", "500")])
            .await
            .unwrap();
    }
    assert_eq!(get("n").await.as_deref(), Some(&b"3"[..]));
    let lives: i64 = cmd("TTL").arg("n").query_async(&mut connection).await.unwrap();
    assert!((1..=500).contains(&lives), "{lives}");
    call(&binding, "create", b"v", &[("key", "n"), ("ttlInSeconds", "0")])
        .await
        .unwrap();
    assert_eq!(get("n").await, None);

    call(&binding, "create", b"text", &[("key", "t")]).await.unwrap();
    let error = call(&binding, "increment", b"", &[("key", "t")]).await.unwrap_err();
    assert!(
        matches!(&error.error, CallError::Other(said) if said.contains("integer")),
        "{error}"
    );
    call(&binding, "delete", b"", &[("key", "t")]).await.unwrap();
    call(&binding, "delete", b"", &[("key", "t")]).await.unwrap();
    assert_eq!(get("t").await, None);

    for (name, metadata, said) in [
        ("get", &[][..], "redis binding: missing key in request metadata"),
        ("dance", &[("key", "k")][..], "invalid operation type: dance"),
        (
            "create",
            &[("key", "k"), ("ttlInSeconds", "-1")][..],
            "higher than zero",
        ),
    ] {
        let error = call(&binding, name, b"", metadata).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(get("k").await, None);
}
