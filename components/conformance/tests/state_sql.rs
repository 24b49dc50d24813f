//! What SQL servers show of our drivers beside their answers: rows that are removed, layouts made by others, connections
//! that break, encrypted connections, queries.
//!
//! One idea: the server itself is asked, by its own client. Must never share a server between two tests.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use palladium_component::state::{Feature, GetRequest, GetResponse, QueryRequest, SetRequest, ValueForm};
use palladium_component::{OpenContext, OpenError, StateError, StateStore};
use palladium_peers::mysql_server::MySqlServer;
use palladium_peers::postgres_server::PostgresServer;

async fn try_open(
    type_name: &str,
    version: &str,
    metadata: &[(String, String)],
    more: &[(&str, &str)],
) -> Result<Arc<dyn StateStore>, OpenError> {
    let own = more.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let properties = metadata.iter().cloned().chain(own).collect();
    palladium_components_state::DRIVERS
        .open(type_name, version, OpenContext::new("store", "orders", properties))
        .await
}

async fn open(
    type_name: &str,
    version: &str,
    metadata: &[(String, String)],
    more: &[(&str, &str)],
) -> Arc<dyn StateStore> {
    try_open(type_name, version, metadata, more)
        .await
        .expect("the store opens")
}

fn set(key: &str, value: &str) -> SetRequest {
    SetRequest {
        key: key.into(),
        value: value.to_string().into(),
        form: ValueForm::Json,
        ..SetRequest::default()
    }
}

async fn get(store: &dyn StateStore, key: &str) -> Result<GetResponse, StateError> {
    let request = GetRequest {
        key: key.into(),
        ..GetRequest::default()
    };
    store.get(&request).await
}

/// Asks until the answer is the expected one.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn expire(store: &dyn StateStore) {
    store.set(&set("kept", "1")).await.unwrap();
    for (key, seconds) in [("gone", "1"), ("later", "3600")] {
        let mut request = set(key, "1");
        request.metadata.insert("ttlInSeconds".into(), seconds.into());
        store.set(&request).await.unwrap();
    }
}

#[tokio::test]
async fn expired_rows_are_removed_from_postgresql() {
    let server = PostgresServer::start().await;
    for (version, table) in [("v1", "state"), ("v2", "own_state")] {
        let more = [("cleanupInterval", "1s"), ("tablePrefix", "own_")];
        let store = open("state.postgresql", version, &server.metadata(), &more).await;
        expire(&*store).await;
        let keys = || server.ask(&format!("SELECT string_agg(key, ' ' ORDER BY key) FROM {table}"));
        assert_eq!(keys(), "gone kept later");
        until("the row stays", async || keys() == "kept later").await;
        store.close().await.unwrap();
    }
    assert_eq!(
        server.ask("SELECT string_agg(key, ' ' ORDER BY key) FROM dapr_metadata"),
        "last-cleanup last-cleanup-state-v2-own_ lock migrations migrations-state-v2-own_"
    );
}

#[tokio::test]
async fn expired_rows_are_removed_from_mysql() {
    let server = MySqlServer::start().await;
    let store = open("state.mysql", "v1", &server.metadata(), &[("cleanupInterval", "1s")]).await;
    expire(&*store).await;
    let keys = || server.ask("SELECT GROUP_CONCAT(id ORDER BY id SEPARATOR ' ') FROM dapr_state_store.state");
    assert_eq!(keys(), "gone kept later");
    until("the row stays", async || keys() == "kept later").await;
}

/// Dapr's own table takes `k` and `K` for one key: what another key holds is never handed out.
#[tokio::test]
async fn a_mysql_table_that_knows_no_case_hands_out_no_other_keys_value() {
    let server = MySqlServer::start().await;
    server.ask(
        "CREATE DATABASE dapr_state_store; USE dapr_state_store; CREATE TABLE state (id VARCHAR(255) NOT NULL PRIMARY KEY, \
         value JSON NOT NULL, isbinary BOOLEAN NOT NULL, insertDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
         updateDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, eTag VARCHAR(36) NOT NULL)",
    );
    let store = open("state.mysql", "v1", &server.metadata(), &[]).await;
    store.set(&set("app||k", "1")).await.unwrap();
    assert!(get(&*store, "app||K").await.unwrap().value.is_none());
    assert_eq!(get(&*store, "app||k").await.unwrap().value.unwrap(), "1");
}

/// A server that ends every connection: what was idle is replaced, and at most the first calls notice.
#[tokio::test]
async fn ended_connections_are_replaced() {
    let server = PostgresServer::start().await;
    let store = open("state.postgresql", "v2", &server.metadata(), &[]).await;
    store.set(&set("k", "1")).await.unwrap();
    server.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'postgres'",
    );
    for _ in 0..4 {
        match get(&*store, "k").await {
            Ok(found) => assert_eq!(found.value.unwrap(), "1"),
            Err(error) => assert!(matches!(error, StateError::Unavailable(_)), "{error}"),
        }
    }
    assert_eq!(get(&*store, "k").await.unwrap().value.unwrap(), "1");
}

/// A server that stops answering costs each call no more than its deadline, and is used again when it is back.
#[tokio::test]
async fn a_frozen_server_costs_no_more_than_the_deadline() {
    let server = MySqlServer::start().await;
    let store = open("state.mysql", "v1", &server.metadata(), &[("timeoutInSeconds", "1")]).await;
    store.set(&set("k", "1")).await.unwrap();
    server.signal("STOP");
    // More calls than connections.
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let store = store.clone();
        calls.spawn(async move {
            let started = Instant::now();
            (get(&*store, "k").await, started.elapsed())
        });
    }
    for (outcome, took) in calls.join_all().await {
        assert!(matches!(outcome, Err(StateError::Unavailable(_))), "{outcome:?}");
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
    server.signal("CONT");
    until("the store does not come back", async || get(&*store, "k").await.is_ok()).await;
}

#[tokio::test]
async fn a_servers_certificate_is_checked() {
    let (server, other) = (PostgresServer::start().await, PostgresServer::start().await);
    let (own, foreign) = (server.take_tls(), other.take_tls());
    let [(name, connection)] = server.metadata();
    let with = |mode: &str| [(name.clone(), format!("{connection} sslmode={mode}"))];
    let open = async |mode: &str, root: &std::path::Path| {
        try_open(
            "state.postgresql",
            "v2",
            &with(mode),
            &[("sslRootCert", root.to_str().unwrap())],
        )
        .await
    };
    for mode in ["require", "verify-ca", "verify-full"] {
        let store = open(mode, &own).await.unwrap_or_else(|error| panic!("{mode}: {error}"));
        store.set(&set("k", "1")).await.unwrap();
        // Asked over a connection of another program, which is left out.
        let used = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                    WHERE client_addr IS NOT NULL AND pid <> pg_backend_pid()";
        assert_eq!(server.ask(used), "t", "{mode}");
        let refused = open(mode, &foreign)
            .await
            .err()
            .unwrap_or_else(|| panic!("{mode} takes any certificate"));
        assert!(matches!(refused, OpenError::Unavailable(_)), "{refused}");
    }
}

#[tokio::test]
async fn queries_over_postgresqls_first_layout() {
    let server = PostgresServer::start().await;
    let second = open(
        "state.postgresql",
        "v2",
        &server.metadata(),
        &[("tablePrefix", "second_")],
    )
    .await;
    assert!(!second.features().has(Feature::QueryApi));
    let store = open("state.postgresql", "v1", &server.metadata(), &[]).await;
    assert!(store.features().has(Feature::QueryApi));
    for (key, org, state, number) in [
        ("1", "A", "CA", 5),
        ("2", "B", "WA", 7),
        ("3", "A", "WA", 5),
        ("4", "C", "OR", 1),
    ] {
        let value = format!(r#"{{"person":{{"org":"{org}","n'":"x"}},"state":"{state}","number":{number}}}"#);
        store.set(&set(key, &value)).await.unwrap();
    }
    let ask = async |filter: &str, limit: u64, token: &str| {
        let filter: serde_json::Map<String, serde_json::Value> = serde_json::from_str(filter).unwrap();
        let request = QueryRequest {
            filter: filter
                .into_iter()
                .map(|(name, value)| (name, value.to_string().into()))
                .collect(),
            sort: vec![("state".into(), true), ("person.org".into(), false)],
            limit,
            token: token.into(),
            ..QueryRequest::default()
        };
        let answer = store.query(&request).await.unwrap();
        let keys: Vec<String> = answer.items.iter().map(|item| item.key.clone()).collect();
        for item in &answer.items {
            assert!(item.etag.is_some() && item.error.is_none() && item.value.starts_with(b"{"));
        }
        (keys.join(" "), answer.token)
    };
    for (filter, keys) in [
        ("{}", "3 2 4 1"),
        (r#"{"EQ":{"person.org":"A"}}"#, "3 1"),
        (r#"{"NEQ":{"person.org":"A"}}"#, "2 4"),
        (r#"{"EQ":{"number":5}}"#, "3 1"),
        (r#"{"GT":{"number":5}}"#, "2"),
        (r#"{"LTE":{"number":5}}"#, "3 4 1"),
        (r#"{"IN":{"state":["CA","OR"]}}"#, "4 1"),
        (
            r#"{"AND":[{"EQ":{"person.org":"A"}},{"OR":[{"EQ":{"state":"CA"}},{"EQ":{"state":"OR"}}]}]}"#,
            "1",
        ),
        (r#"{"EQ":{"person.n'":"x"}}"#, "3 2 4 1"),
        (r#"{"EQ":{"a'='a' OR 'b":"x"}}"#, ""),
    ] {
        assert_eq!(ask(filter, 0, "").await, (keys.into(), String::new()), "{filter}");
    }
    assert_eq!(ask("{}", 3, "").await, ("3 2 4".into(), "3".into()));
    assert_eq!(ask("{}", 3, "3").await, ("1".into(), "4".into()));
    let bad = QueryRequest {
        token: "x".into(),
        ..QueryRequest::default()
    };
    assert!(matches!(store.query(&bad).await, Err(StateError::Invalid(_))));
}
