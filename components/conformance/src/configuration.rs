//! The suite of configuration stores.
//!
//! A driver's test file names its backend and gets one test per case:
//! `palladium_conformance::configuration_suite!(backend);`. One idea: the suite itself is the operator who writes, by a way
//! beside the driver. Must never import a driver, or ask which one it is testing.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use palladium_component::ConfigurationStore;
use palladium_component::configuration::{Item, Items, Listener, Listening, Selection};
use palladium_component::reply::BoxFuture;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

/// What an operator does to a store.
#[derive(Debug, Clone)]
pub enum Act {
    /// Key, value, version.
    Write(&'static str, String, &'static str),
    /// Key.
    Delete(&'static str),
    /// Cuts the connections that tell of changes.
    Cut,
}

/// One component under test.
pub struct Backend {
    /// Opens the component; a second time on the same store.
    pub open: Box<dyn Fn() -> BoxFuture<'static, Arc<dyn ConfigurationStore>> + Send + Sync>,
    /// Does something to the store.
    pub operate: Box<dyn Fn(Act) -> BoxFuture<'static, ()> + Send + Sync>,
    /// What has to live as long as the test: servers.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl Backend {
    async fn write(&self, key: &'static str, value: impl Into<String>, version: &'static str) {
        (self.operate)(Act::Write(key, value.into(), version)).await;
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

/// Hands on what it is told, as long as it has leave to.
struct Told {
    items: mpsc::UnboundedSender<Items>,
    leave: Arc<Semaphore>,
}

impl Listener for Told {
    fn changed(&self, items: Items) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _leave = self.leave.acquire().await;
            let _ = self.items.send(items);
        })
    }
}

struct Watch {
    told: mpsc::UnboundedReceiver<Items>,
    leave: Arc<Semaphore>,
    listening: Listening,
}

async fn watch(store: &Arc<dyn ConfigurationStore>, keys: &[&str]) -> Watch {
    let (items, told) = mpsc::unbounded_channel();
    let leave = Arc::new(Semaphore::new(1));
    let listener = Told {
        items,
        leave: leave.clone(),
    };
    let listening = store.subscribe(&select(keys), Arc::new(listener)).await.unwrap();
    Watch { told, leave, listening }
}

impl Watch {
    /// Until a key is told with that value; empty = it is gone. What else is told meanwhile must be of `keys`.
    async fn sees(&mut self, key: &str, value: &str, keys: &[&str]) -> Item {
        loop {
            let items = timeout(Duration::from_secs(20), self.told.recv()).await;
            let items = items.expect("a change in time").expect("the subscription goes on");
            for told in items.keys() {
                assert!(
                    keys.is_empty() || keys.contains(&told.as_str()),
                    "{told} was not asked for"
                );
            }
            if let Some(item) = items.get(key).filter(|item| item.value == value) {
                return item.clone();
            }
        }
    }

    async fn sees_nothing(&mut self) {
        let items = timeout(Duration::from_millis(400), self.told.recv()).await;
        assert!(!matches!(items, Ok(Some(_))), "{items:?}");
    }
}

fn select(keys: &[&str]) -> Selection {
    Selection {
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        ..Selection::default()
    }
}

/// Values with and without a version; a key that is not there is left out.
pub async fn what_is_stored_is_read(backend: &Backend) {
    let store = (backend.open)().await;
    backend.write("a", "ä value", "v1").await;
    backend.write("b", "2", "").await;
    let items = store.get(&select(&["a", "b", "missing"])).await.unwrap();
    assert_eq!(items.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(
        (items["a"].value.as_str(), items["a"].version.as_str()),
        ("ä value", "v1")
    );
    assert_eq!((items["b"].value.as_str(), items["b"].version.as_str()), ("2", ""));
    assert!(store.get(&select(&["missing"])).await.unwrap().is_empty());
}

/// No keys named: all.
pub async fn all_keys_when_none_is_named(backend: &Backend) {
    let store = (backend.open)().await;
    assert!(store.get(&select(&[])).await.unwrap().is_empty());
    for key in ["a", "b", "c"] {
        backend.write(key, key, "").await;
    }
    let items = store.get(&select(&[])).await.unwrap();
    assert_eq!(items.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
}

/// A new value, another version, a deletion.
pub async fn changes_are_told(backend: &Backend) {
    let store = (backend.open)().await;
    backend.write("k", "0", "").await;
    let mut watch = watch(&store, &["k"]).await;
    backend.write("k", "1", "v1").await;
    assert_eq!(watch.sees("k", "1", &["k"]).await.version, "v1");
    backend.write("k", "2", "v2").await;
    assert_eq!(watch.sees("k", "2", &["k"]).await.version, "v2");
    (backend.operate)(Act::Delete("k")).await;
    assert_eq!(watch.sees("k", "", &["k"]).await, Item::default());
}

/// Only what was asked for; everything when nothing was named.
pub async fn only_what_was_asked_for(backend: &Backend) {
    let store = (backend.open)().await;
    let mut some = watch(&store, &["a", "b"]).await;
    let mut all = watch(&store, &[]).await;
    for (key, value) in [("c", "3"), ("a", "1"), ("b", "2")] {
        backend.write(key, value, "").await;
    }
    for (key, value) in [("a", "1"), ("b", "2")] {
        some.sees(key, value, &["a", "b"]).await;
    }
    for (key, value) in [("c", "3"), ("a", "1"), ("b", "2")] {
        all.sees(key, value, &[]).await;
    }
}

/// An end of one subscription is no end of another.
pub async fn a_dropped_subscription_ends(backend: &Backend) {
    let store = (backend.open)().await;
    let (mut ends, mut stays) = (watch(&store, &["k"]).await, watch(&store, &["k"]).await);
    ends.listening = Box::new(());
    tokio::time::sleep(Duration::from_millis(100)).await;
    backend.write("k", "1", "").await;
    stays.sees("k", "1", &["k"]).await;
    ends.sees_nothing().await;
}

/// A listener that takes its time is told the last value, however often it changed.
pub async fn a_slow_listener_gets_the_last_value(backend: &Backend) {
    let store = (backend.open)().await;
    let mut watch = watch(&store, &["a", "b"]).await;
    let held = watch.leave.clone().acquire_owned().await.unwrap();
    for count in 1..=500 {
        backend.write("a", count.to_string(), "").await;
    }
    backend.write("b", "end", "").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(held);
    watch.sees("a", "500", &["a", "b"]).await;
    let other = async {
        backend.write("b", "again", "").await;
        watch.sees("b", "again", &["a", "b"]).await
    };
    other.await;
}

/// What changes while the store is away is told when it is back, and so is what changes later.
pub async fn a_lost_connection_comes_back(backend: &Backend) {
    let store = (backend.open)().await;
    let mut watch = watch(&store, &["k"]).await;
    for count in 1..=3 {
        (backend.operate)(Act::Cut).await;
        backend.write("k", count.to_string(), "").await;
        watch.sees("k", &count.to_string(), &["k"]).await;
    }
}

/// Closing ends all subscriptions and refuses new ones.
pub async fn after_closing(backend: &Backend) {
    let store = (backend.open)().await;
    let mut watch = watch(&store, &["k"]).await;
    store.close().await.unwrap();
    backend.write("k", "1", "").await;
    watch.sees_nothing().await;
    let (items, _told) = mpsc::unbounded_channel();
    let leave = Arc::new(Semaphore::new(1));
    let refused = store.subscribe(&select(&["k"]), Arc::new(Told { items, leave })).await;
    assert!(refused.is_err());
}

/// Makes one test per case of the suite.
#[macro_export]
macro_rules! configuration_suite {
    ($backend:path) => {
        $crate::configuration_suite!($backend:
            what_is_stored_is_read, all_keys_when_none_is_named, changes_are_told, only_what_was_asked_for,
            a_dropped_subscription_ends, a_slow_listener_gets_the_last_value, a_lost_connection_comes_back, after_closing
        );
    };
    ($backend:path: $($case:ident),+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let backend = $backend().await;
            $crate::configuration::$case(&backend).await;
        }
    )+};
}
