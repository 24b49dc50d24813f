//! Who may touch what, and what is on disk.

use palladium_component::state::{GetRequest, SetRequest};
use palladium_component::{OpenError, StateError, StateStore};

use super::component;
use super::pki::Ca;
use super::world::{World, open};

pub(super) fn set(key: &str, value: &'static str) -> SetRequest {
    SetRequest {
        key: key.into(),
        value: value.into(),
        ..SetRequest::default()
    }
}

pub(super) async fn value(store: &dyn StateStore, key: &str) -> Option<String> {
    let found = store
        .get(&GetRequest {
            key: key.into(),
            ..GetRequest::default()
        })
        .await
        .unwrap();
    found.value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn refused(outcome: Result<std::sync::Arc<dyn StateStore>, OpenError>) -> String {
    outcome.err().expect("refused").to_string()
}

#[tokio::test]
async fn a_caller_is_its_certificate_and_nothing_else() {
    let components = [
        component("prj-a", "uid-a", "kvstore", &["orders", "stock"]),
        component("prj-b", "uid-b", "kvstore", &["orders"]),
    ];
    let world = World::with(&components).await;
    let (a, shared, b) = (
        world.open("/ns/prj-a/orders", "kvstore").await,
        world.open("/ns/prj-a/stock", "kvstore").await,
        world.open("/ns/prj-b/orders", "kvstore").await,
    );
    a.set(&set("orders||k", "of a")).await.unwrap();
    assert_eq!(
        value(&*shared, "orders||k").await.as_deref(),
        Some("of a"),
        "one component is one store"
    );
    assert_eq!(value(&*b, "orders||k").await, None, "a project never sees another's");
    b.set(&set("orders||k", "of b")).await.unwrap();
    assert_eq!(value(&*a, "orders||k").await.as_deref(), Some("of a"));
    for (path, name) in [
        ("/ns/prj-a/web", "kvstore"),
        ("/ns/prj-a/orders", "other"),
        ("/ns/prj-c/orders", "kvstore"),
    ] {
        let message = refused(world.try_open(path, name).await);
        assert!(message.contains("no such managed component"), "{path}: {message}");
    }
    // Platform roles and strangers do not get as far as a request.
    for path in ["/ns/palladium/gateway", "/ns/palladium/agent", "/ns/default/orders"] {
        let message = refused(world.try_open(path, "kvstore").await);
        assert!(!message.contains("no such managed component"), "{path}: {message}");
    }
}

#[tokio::test]
async fn sec_039_strangers_do_not_get_through_the_handshake() {
    let world = World::with(&[component("prj-a", "uid-a", "kvstore", &["orders"])]).await;
    // The right names from another authority, and the right authority's names in another trust domain.
    for domain in ["reg-a.palladium.internal", "reg-b.palladium.internal"] {
        let other = Ca::new(domain);
        let dial = world.dial_with(&other.svid("/ns/prj-a/orders"));
        let message = refused(open(dial, "kvstore").await);
        assert!(!message.contains("no such managed component"), "{domain}: {message}");
    }
}

#[tokio::test]
async fn sec_037_plaintext_is_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::with(&[]).await;
    let mut stream = tokio::net::TcpStream::connect(world.address()).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
    let _ = ended.expect("the connection ends");
    // At most a TLS alert (content type 21), never a frame of HTTP/2.
    assert!(answer.first().is_none_or(|first| *first == 21), "{answer:?}");
}

#[tokio::test]
async fn it_serves_from_the_last_table_and_keeps_everything_over_a_restart() {
    let mut world = World::with(&[component("prj-a", "uid-a", "kvstore", &["orders"])]).await;
    world
        .open("/ns/prj-a/orders", "kvstore")
        .await
        .set(&set("orders||k", "kept"))
        .await
        .unwrap();
    world.stop().await;
    world.start().await;
    let store = world.open("/ns/prj-a/orders", "kvstore").await;
    assert_eq!(value(&*store, "orders||k").await.as_deref(), Some("kept"));
}

#[tokio::test]
async fn a_driver_survives_a_restart_of_the_store() {
    let mut world = World::with(&[component("prj-a", "uid-a", "kvstore", &["orders"])]).await;
    let store = world.open("/ns/prj-a/orders", "kvstore").await;
    store.set(&set("orders||k", "one")).await.unwrap();
    world.stop().await;
    // Nobody listens: the write was never sent, and says so after a while.
    let error = store.set(&set("orders||k", "two")).await.unwrap_err();
    assert!(matches!(error, StateError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn no_value_lies_on_disk_in_clear() {
    let mut world = World::with(&[component("prj-a", "uid-a", "kvstore", &["orders"])]).await;
    world
        .open("/ns/prj-a/orders", "kvstore")
        .await
        .set(&set("orders||k", "a-value-to-be-found"))
        .await
        .unwrap();
    let find = |folder: std::path::PathBuf| {
        let mut todo = vec![folder];
        let mut files = 0;
        while let Some(path) = todo.pop() {
            if path.is_dir() {
                todo.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            files += 1;
            let content = std::fs::read(&path).unwrap();
            assert!(
                !content.windows(19).any(|window| window == b"a-value-to-be-found"),
                "{}",
                path.display()
            );
        }
        files
    };
    assert!(find(world.data_folder()) >= 3);
    world.stop().await;
    assert!(find(world.data_folder()) >= 3);
}

#[tokio::test]
async fn a_folder_has_one_store() {
    let mut world = World::with(&[]).await;
    let error = world.try_start().await.expect_err("a second store is refused");
    assert!(error.to_string().contains("another store uses this folder"), "{error}");
    assert_eq!(error.exit_code(), palladium_launch::exit::UNAVAILABLE);
}
