//! Our drivers and Dapr's own, over the same data at the same time: what one writes the other reads, etags and lives
//! included. Needs Dapr's `daprd`: `PALLADIUM_PEERS` names the folder that `./dev peers` prints.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use palladium_component::state::{
    Concurrency, DeleteRequest, GetRequest, GetResponse, Operation, SetRequest, TransactRequest, ValueForm,
};
use palladium_component::{OpenContext, StateError, StateStore};
use palladium_peers::daprd::{Answer, Daprd};
use palladium_peers::etcd_server::EtcdServer;
use palladium_peers::memcached_server::MemcachedServer;
use palladium_peers::mysql_server::MySqlServer;
use palladium_peers::postgres_server::PostgresServer;
use palladium_peers::redis_server::RedisServer;

async fn get(daprd: &Daprd, key: &str) -> Answer {
    daprd.api.call("GET", &format!("/v1.0/state/store/{key}"), "").await
}

async fn save(daprd: &Daprd, item: &str) -> u16 {
    daprd
        .api
        .call("POST", "/v1.0/state/store", &format!("[{item}]"))
        .await
        .status
}
fn set(key: &str, value: &str, form: ValueForm) -> SetRequest {
    let value = value.to_string().into();
    SetRequest {
        key: format!("orders||{key}"),
        value,
        form,
        ..SetRequest::default()
    }
}

async fn read(ours: &dyn StateStore, key: &str) -> GetResponse {
    let request = GetRequest {
        key: format!("orders||{key}"),
        ..GetRequest::default()
    };
    ours.get(&request).await.unwrap()
}

fn text(found: &GetResponse) -> Option<&str> {
    found.value.as_deref().map(|value| std::str::from_utf8(value).unwrap())
}

async fn share(daprd: &Daprd, ours: &dyn StateStore) {
    // Theirs, read and changed by us with their etag; a stale one is refused on both sides.
    assert_eq!(
        save(daprd, r#"{"key": "theirs", "value": {"a": [1, 2.5], "b": "ü"}}"#).await,
        204
    );
    let found = read(ours, "theirs").await;
    // As JSON: daprd writes the members of an object in any order.
    let value: serde_json::Value = serde_json::from_str(text(&found).unwrap()).unwrap();
    assert_eq!(value, serde_json::json!({"a": [1, 2.5], "b": "ü"}));
    let stale = found.etag.unwrap();
    assert_eq!(get(daprd, "theirs").await.header("etag"), Some(stale.as_str()));
    let with_etag = SetRequest {
        etag: Some(stale.clone()),
        ..set("theirs", "\"ours now\"", ValueForm::Json)
    };
    ours.set(&with_etag).await.unwrap();
    assert!(matches!(ours.set(&with_etag).await, Err(StateError::EtagMismatch(_))));
    let item = format!(r#"{{"key": "theirs", "value": 1, "etag": "{stale}"}}"#);
    assert_eq!(save(daprd, &item).await, 409);
    let answer = get(daprd, "theirs").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "\"ours now\""));
    let item = format!(
        r#"{{"key": "theirs", "value": 2, "etag": "{}"}}"#,
        answer.header("etag").unwrap()
    );
    assert_eq!(save(daprd, &item).await, 204, "our etag serves them");
    assert_eq!(text(&read(ours, "theirs").await), Some("2"));

    // Ours, in both forms, read by them.
    for (key, form) in [("json", ValueForm::Json), ("binary", ValueForm::Binary)] {
        ours.set(&set(key, r#"{"x":"y"}"#, form)).await.unwrap();
        // As JSON: the first PostgreSQL puts a blank in it.
        let body: serde_json::Value = serde_json::from_str(&get(daprd, key).await.body).unwrap();
        assert_eq!(body, serde_json::json!({"x": "y"}), "{form:?}");
    }

    // First writes meet each other.
    let first = SetRequest {
        concurrency: Concurrency::FirstWrite,
        ..set("first", "1", ValueForm::Json)
    };
    ours.set(&first).await.unwrap();
    let refused = save(
        daprd,
        r#"{"key": "first", "value": 2, "options": {"concurrency": "first-write"}}"#,
    )
    .await;
    // Their Redis driver calls it an etag error only when an etag was given.
    assert!([409, 500].contains(&refused), "{refused}");
    assert_eq!(
        save(
            daprd,
            r#"{"key": "their-first", "value": 1, "options": {"concurrency": "first-write"}}"#
        )
        .await,
        204
    );
    let late = SetRequest {
        key: "orders||their-first".into(),
        ..first
    };
    assert!(matches!(ours.set(&late).await, Err(StateError::EtagMismatch(_))));

    // Lives: each sees the other's end. (Their Redis driver does not tell when.)
    let mut mortal = set("mortal", "1", ValueForm::Json);
    mortal.metadata.insert("ttlInSeconds".into(), "2".into());
    ours.set(&mortal).await.unwrap();
    assert_eq!(get(daprd, "mortal").await.status, 200);
    let item = r#"{"key": "their-mortal", "value": 1, "metadata": {"ttlInSeconds": "2"}}"#;
    assert_eq!(save(daprd, item).await, 204);
    assert!(read(ours, "their-mortal").await.metadata.contains_key("ttlExpireTime"));
    let started = Instant::now();
    while get(daprd, "mortal").await.status != 204 || read(ours, "their-mortal").await.value.is_some() {
        assert!(started.elapsed() < Duration::from_secs(8), "they do not expire");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // Transactions and deletions.
    let body = r#"{"operations": [{"operation": "upsert", "request": {"key": "t", "value": 1}}, {"operation": "delete", "request": {"key": "json"}}]}"#;
    assert_eq!(
        daprd
            .api
            .call("POST", "/v1.0/state/store/transaction", body)
            .await
            .status,
        204
    );
    assert_eq!(
        (text(&read(ours, "t").await), read(ours, "json").await.value),
        (Some("1"), None)
    );
    let delete = DeleteRequest {
        key: "orders||t".into(),
        ..DeleteRequest::default()
    };
    let operations = vec![
        Operation::Set(set("u", "2", ValueForm::Json)),
        Operation::Delete(delete),
    ];
    ours.transact(&TransactRequest {
        operations,
        ..TransactRequest::default()
    })
    .await
    .unwrap();
    assert_eq!(
        (get(daprd, "u").await.body.as_str(), get(daprd, "t").await.status),
        ("2", 204)
    );
}

async fn ours(type_name: &str, version: &str, metadata: &[(String, String)]) -> Arc<dyn StateStore> {
    let context = OpenContext::new("store", "orders", metadata.iter().cloned().collect());
    palladium_components_state::DRIVERS
        .open(type_name, version, context)
        .await
        .expect("the store opens")
}

#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn redis() {
    let server = RedisServer::start().await;
    let metadata = server.metadata();
    let (daprd, ours) = tokio::join!(
        Daprd::start("state.redis", "v1", &metadata, &[]),
        ours("state.redis", "v1", &metadata)
    );
    share(&daprd, &*ours).await;
}

/// Once with tables that daprd has made, once with ours. `server` makes a new and empty one.
async fn share_tables<S>(
    type_name: &str,
    version: &str,
    server: impl AsyncFn() -> S,
    metadata: impl Fn(&S) -> Vec<(String, String)>,
) {
    for daprd_first in [true, false] {
        let server = server().await;
        let metadata = metadata(&server);
        let made = match daprd_first {
            true => None,
            false => Some(ours(type_name, version, &metadata).await),
        };
        let daprd = Daprd::start(type_name, version, &metadata, &[]).await;
        let ours = match made {
            Some(made) => made,
            None => ours(type_name, version, &metadata).await,
        };
        share(&daprd, &*ours).await;
    }
}

#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn sqlite() {
    let file = |folder: &tempfile::TempDir| folder.path().join("data.db").display().to_string();
    let metadata = |folder: &tempfile::TempDir| vec![("connectionString".to_string(), file(folder))];
    share_tables("state.sqlite", "v1", async || tempfile::tempdir().unwrap(), metadata).await;
}

#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn postgresql() {
    for version in ["v1", "v2"] {
        let metadata = |server: &PostgresServer| server.metadata().to_vec();
        share_tables("state.postgresql", version, PostgresServer::start, metadata).await;
    }
}

/// Both at once on an empty database: neither is in the other's way.
#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn postgresql_tables_made_at_once() {
    for version in ["v1", "v2"] {
        let server = PostgresServer::start().await;
        let metadata = server.metadata();
        let (daprd, ours, _) = tokio::join!(
            Daprd::start("state.postgresql", version, &metadata, &[]),
            ours("state.postgresql", version, &metadata),
            ours("state.postgresql", version, &metadata)
        );
        share(&daprd, &*ours).await;
    }
}

/// On MariaDB.
#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn mysql() {
    let metadata = |server: &MySqlServer| server.metadata().to_vec();
    share_tables("state.mysql", "v1", MySqlServer::start, metadata).await;
}

#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn memcached() {
    let servers = (MemcachedServer::start().await, MemcachedServer::start().await);
    let [(hosts, first), timeout] = servers.0.metadata();
    let [(_, second), _] = servers.1.metadata();
    let metadata = [(hosts, format!("{first},{second}")), timeout];
    let (daprd, ours) = tokio::join!(
        Daprd::start("state.memcached", "v1", &metadata, &[]),
        ours("state.memcached", "v1", &metadata)
    );
    // Enough keys that each server has some.
    for number in 0..20 {
        let (theirs, own) = (format!("theirs{number}"), format!("ours{number}"));
        assert_eq!(
            save(&daprd, &format!(r#"{{"key": "{theirs}", "value": {number}}}"#)).await,
            204
        );
        assert_eq!(text(&read(&*ours, &theirs).await), Some(number.to_string().as_str()));
        ours.set(&set(&own, &number.to_string(), ValueForm::Json))
            .await
            .unwrap();
        assert_eq!(get(&daprd, &own).await.body, number.to_string());
    }
}

/// In both layouts.
#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn etcd() {
    for version in ["v1", "v2"] {
        let server = EtcdServer::start().await;
        let metadata = server.metadata();
        let (daprd, ours) = tokio::join!(
            Daprd::start("state.etcd", version, &metadata, &[]),
            ours("state.etcd", version, &metadata)
        );
        share(&daprd, &*ours).await;
    }
}
