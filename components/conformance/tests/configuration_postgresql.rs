//! What is peculiar to `configuration.postgresql`: rows with versions, channels, and what is heard of changes.
//!
//! One idea: the test is the operator, by SQL. Must never pass without a real server.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use palladium_component::configuration::{Items, Listener, Listening, Selection};
use palladium_component::reply::BoxFuture;
use palladium_component::{ConfigurationStore, OpenContext, OpenError};
use palladium_components_configuration::DRIVERS;
use palladium_peers::postgres_server::PostgresServer;
use tokio::sync::mpsc;
use tokio::time::timeout;

const TABLE: &str = "CREATE SCHEMA app; CREATE TABLE app.settings \
                     (key VARCHAR NOT NULL, value VARCHAR NOT NULL, version VARCHAR NOT NULL, metadata JSON)";

struct Told(mpsc::UnboundedSender<Items>);

impl Listener for Told {
    fn changed(&self, items: Items) -> BoxFuture<'_, ()> {
        let _ = self.0.send(items);
        Box::pin(async {})
    }
}

async fn open(server: &PostgresServer, more: &[(&str, &str)]) -> Result<Arc<dyn ConfigurationStore>, OpenError> {
    let more = more.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let properties = server.metadata().into_iter().chain(more).collect();
    DRIVERS
        .open("configuration.postgres", "v1", OpenContext::new("c", "app", properties))
        .await
}

async fn watch(
    store: &Arc<dyn ConfigurationStore>,
    channel: &str,
    keys: &[&str],
) -> (Listening, mpsc::UnboundedReceiver<Items>) {
    let (told, items) = mpsc::unbounded_channel();
    let selection = Selection {
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        metadata: [("pgNotifyChannel".to_owned(), channel.to_owned())].into(),
    };
    (store.subscribe(&selection, Arc::new(Told(told))).await.unwrap(), items)
}

async fn next(items: &mut mpsc::UnboundedReceiver<Items>) -> Items {
    let told = timeout(Duration::from_secs(20), items.recv()).await;
    told.expect("a change in time").expect("the subscription goes on")
}

fn notify(channel: &str, key: &str) -> String {
    format!("SELECT pg_notify('{channel}', '{{\"table\": \"settings\", \"data\": {{\"key\": \"{key}\"}}}}')")
}

#[tokio::test]
async fn the_greatest_version_is_in_force_and_has_metadata() {
    let server = PostgresServer::start().await;
    server.ask(TABLE);
    server.ask(
        "INSERT INTO app.settings VALUES ('a', 'old', '9', NULL), ('a', 'new', '10', '{\"by\": \"me\", \"n\": 1}'), \
         ('a', 'none', 'x', '{}')",
    );
    let store = open(
        &server,
        &[("table", "app.settings"), ("queryExecMode", "simple_protocol")],
    )
    .await
    .unwrap();
    let items = store.get(&Selection::default()).await.unwrap();
    let item = &items["a"];
    assert_eq!((item.value.as_str(), item.version.as_str()), ("new", "10"));
    assert_eq!((item.metadata["by"].as_str(), item.metadata["n"].as_str()), ("me", "1"));
    let selection = Selection {
        keys: vec!["a\0".into(), "it's".into()],
        ..Selection::default()
    };
    assert!(store.get(&selection).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_table_that_nobody_made_is_said() {
    let server = PostgresServer::start().await;
    let error = open(&server, &[("table", "nowhere")]).await.err().unwrap();
    assert!(
        matches!(&error, OpenError::Metadata(error) if error.field == "table"),
        "{error}"
    );
}

/// Each subscription hears its own channel; all of them by one connection, which is let go of with the last one.
#[tokio::test]
async fn channels_are_kept_apart_on_one_connection() {
    let server = PostgresServer::start().await;
    server.ask(TABLE);
    server.ask("INSERT INTO app.settings VALUES ('k', 'v', '', NULL)");
    let store = open(&server, &[("table", "app.settings"), ("maxConns", "2")])
        .await
        .unwrap();
    let (first, mut of_first) = watch(&store, "first", &["k"]).await;
    let (second, mut of_second) = watch(&store, "second", &[]).await;
    let (third, _of_third) = watch(&store, "first", &["other"]).await;
    let listening = "SELECT count(*) FROM pg_stat_activity \
                     WHERE (query LIKE '%LISTEN %' OR query = 'SELECT 1') AND pid <> pg_backend_pid()";
    assert_eq!(server.ask(listening), "1");
    for nonsense in ["nonsense", "{}", "{\"data\": 1}"] {
        server.ask(&format!("SELECT pg_notify('first', '{nonsense}')"));
    }
    server.ask(&notify("second", "k"));
    server.ask(&notify("first", "gone"));
    server.ask(&notify("first", "k"));
    assert_eq!(next(&mut of_second).await["k"].value, "v");
    let told = next(&mut of_first).await;
    assert_eq!((told.len(), told["k"].value.as_str()), (1, "v"));
    server.ask(&notify("second", "gone"));
    assert_eq!(next(&mut of_second).await["gone"].value, "");
    drop((first, second, third));
    let let_go = async {
        while server.ask(listening) != "0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), let_go)
        .await
        .expect("the connection is let go of");
    let (_again, mut items) = watch(&store, "first", &["k"]).await;
    server.ask(&notify("first", "k"));
    assert_eq!(next(&mut items).await["k"].value, "v");
}

/// A subscription to everything is told all there is when changes may have been missed.
#[tokio::test]
async fn what_may_have_been_missed_is_told_again() {
    let server = PostgresServer::start().await;
    server.ask(TABLE);
    let store = open(&server, &[("table", "app.settings"), ("notifyChannel", "c")])
        .await
        .unwrap();
    let (_all, mut items) = watch(&store, "ignored", &[]).await;
    server.ask("INSERT INTO app.settings VALUES ('a', '1', '', NULL), ('b', '2', '', NULL)");
    server.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );
    let told = next(&mut items).await;
    assert_eq!((told["a"].value.as_str(), told["b"].value.as_str()), ("1", "2"));
    server.ask("UPDATE app.settings SET value = '3' WHERE key = 'a'");
    server.ask(&notify("c", "a"));
    assert_eq!(next(&mut items).await["a"].value, "3");
}
