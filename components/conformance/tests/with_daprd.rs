//! Our drivers and Dapr's own, over the same data at the same time: what one writes the other reads, etags and lives
//! included. Needs Dapr's `daprd`: `PALLADIUM_PEERS` names the folder that `./dev peers` prints.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use palladium_component::state::{
    Concurrency, DeleteRequest, GetRequest, GetResponse, Operation, SetRequest, TransactRequest, ValueForm,
};
use palladium_component::{OpenContext, StateError, StateStore};
use palladium_conformance::etcd_server::EtcdServer;
use palladium_conformance::redis_server::RedisServer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Dapr's own daprd with one state store, `store`, for App ID `orders`; killed when dropped.
struct Daprd {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Drop for Daprd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer of daprd's HTTP API.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }
}

impl Daprd {
    async fn start(type_name: &str, version: &str, metadata: &[(String, String)]) -> Self {
        let peers = std::env::var("PALLADIUM_PEERS").expect("PALLADIUM_PEERS: last line of `./dev peers`");
        let folder = tempfile::tempdir().unwrap();
        let fields: Vec<String> = metadata
            .iter()
            .map(|(name, value)| format!("{{\"name\": \"{name}\", \"value\": \"{value}\"}}"))
            .collect();
        let component = format!(
            "{{\"apiVersion\": \"dapr.io/v1alpha1\", \"kind\": \"Component\", \"metadata\": {{\"name\": \"store\"}}, \
             \"spec\": {{\"type\": \"{type_name}\", \"version\": \"{version}\", \"metadata\": [{}]}}}}",
            fields.join(", ")
        );
        std::fs::write(folder.path().join("store.yaml"), component).unwrap();
        let mut daprd = Self::spawn(Path::new(&peers), folder);
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", daprd.port)).await.is_err()
            || daprd.call("GET", "/v1.0/healthz/outbound", "").await.status != 204
        {
            assert!(daprd.child.try_wait().unwrap().is_none(), "daprd ended");
            assert!(started.elapsed() < Duration::from_secs(30), "daprd does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        daprd
    }

    fn spawn(peers: &Path, folder: TempDir) -> Self {
        // Held together until all are known, so that they differ.
        let free: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = free
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        drop(free);
        let child = Command::new(peers.join("daprd"))
            .args([
                "--app-id=orders",
                "--dapr-listen-addresses=127.0.0.1",
                "--log-level=error",
            ])
            .arg(format!("--resources-path={}", folder.path().display()))
            .arg(format!("--dapr-http-port={}", ports[0]))
            .arg(format!("--dapr-grpc-port={}", ports[1]))
            .arg(format!("--dapr-internal-grpc-port={}", ports[2]))
            .arg(format!("--metrics-port={}", ports[3]))
            .stdin(Stdio::null())
            .spawn()
            .expect("daprd starts");
        Daprd {
            child,
            port: ports[0],
            _folder: folder,
        }
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        Answer {
            status,
            head: head.into(),
            body: body.into(),
        }
    }

    async fn get(&self, key: &str) -> Answer {
        self.call("GET", &format!("/v1.0/state/store/{key}"), "").await
    }

    async fn save(&self, item: &str) -> u16 {
        self.call("POST", "/v1.0/state/store", &format!("[{item}]"))
            .await
            .status
    }
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
        daprd
            .save(r#"{"key": "theirs", "value": {"a": [1, 2.5], "b": "ü"}}"#)
            .await,
        204
    );
    let found = read(ours, "theirs").await;
    // As JSON: daprd writes the members of an object in any order.
    let value: serde_json::Value = serde_json::from_str(text(&found).unwrap()).unwrap();
    assert_eq!(value, serde_json::json!({"a": [1, 2.5], "b": "ü"}));
    let stale = found.etag.unwrap();
    assert_eq!(daprd.get("theirs").await.header("etag"), Some(stale.as_str()));
    let with_etag = SetRequest {
        etag: Some(stale.clone()),
        ..set("theirs", "\"ours now\"", ValueForm::Json)
    };
    ours.set(&with_etag).await.unwrap();
    assert!(matches!(ours.set(&with_etag).await, Err(StateError::EtagMismatch(_))));
    let item = format!(r#"{{"key": "theirs", "value": 1, "etag": "{stale}"}}"#);
    assert_eq!(daprd.save(&item).await, 409);
    let answer = daprd.get("theirs").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "\"ours now\""));
    let item = format!(
        r#"{{"key": "theirs", "value": 2, "etag": "{}"}}"#,
        answer.header("etag").unwrap()
    );
    assert_eq!(daprd.save(&item).await, 204, "our etag serves them");
    assert_eq!(text(&read(ours, "theirs").await), Some("2"));

    // Ours, in both forms, read by them.
    for (key, form) in [("json", ValueForm::Json), ("binary", ValueForm::Binary)] {
        ours.set(&set(key, r#"{"x":"y"}"#, form)).await.unwrap();
        assert_eq!(daprd.get(key).await.body, r#"{"x":"y"}"#, "{form:?}");
    }

    // First writes meet each other.
    let first = SetRequest {
        concurrency: Concurrency::FirstWrite,
        ..set("first", "1", ValueForm::Json)
    };
    ours.set(&first).await.unwrap();
    let refused = daprd
        .save(r#"{"key": "first", "value": 2, "options": {"concurrency": "first-write"}}"#)
        .await;
    // Their Redis driver calls it an etag error only when an etag was given.
    assert!([409, 500].contains(&refused), "{refused}");
    assert_eq!(
        daprd
            .save(r#"{"key": "their-first", "value": 1, "options": {"concurrency": "first-write"}}"#)
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
    assert_eq!(daprd.get("mortal").await.status, 200);
    let item = r#"{"key": "their-mortal", "value": 1, "metadata": {"ttlInSeconds": "2"}}"#;
    assert_eq!(daprd.save(item).await, 204);
    assert!(read(ours, "their-mortal").await.metadata.contains_key("ttlExpireTime"));
    let started = Instant::now();
    while daprd.get("mortal").await.status != 204 || read(ours, "their-mortal").await.value.is_some() {
        assert!(started.elapsed() < Duration::from_secs(8), "they do not expire");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // Transactions and deletions.
    let body = r#"{"operations": [{"operation": "upsert", "request": {"key": "t", "value": 1}}, {"operation": "delete", "request": {"key": "json"}}]}"#;
    assert_eq!(
        daprd.call("POST", "/v1.0/state/store/transaction", body).await.status,
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
        (daprd.get("u").await.body.as_str(), daprd.get("t").await.status),
        ("2", 204)
    );
}

async fn ours(type_name: &str, version: &str, metadata: &[(String, String)]) -> Arc<dyn StateStore> {
    let context = OpenContext::new("store", "orders", metadata.iter().cloned().collect());
    palladium_components_state::open(type_name, version, context)
        .await
        .expect("the store opens")
}

#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn redis() {
    let server = RedisServer::start().await;
    let metadata = server.metadata();
    let (daprd, ours) = tokio::join!(
        Daprd::start("state.redis", "v1", &metadata),
        ours("state.redis", "v1", &metadata)
    );
    share(&daprd, &*ours).await;
}

/// Once with tables that daprd has made, once with ours.
#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn sqlite() {
    for daprd_first in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.db").display().to_string();
        let metadata = [("connectionString".to_string(), file)];
        let made = if daprd_first {
            None
        } else {
            Some(ours("state.sqlite", "v1", &metadata).await)
        };
        let daprd = Daprd::start("state.sqlite", "v1", &metadata).await;
        let ours = match made {
            Some(made) => made,
            None => ours("state.sqlite", "v1", &metadata).await,
        };
        share(&daprd, &*ours).await;
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
            Daprd::start("state.etcd", version, &metadata),
            ours("state.etcd", version, &metadata)
        );
        share(&daprd, &*ours).await;
    }
}
