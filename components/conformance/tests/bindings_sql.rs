//! `bindings.postgresql` over a real server: what goes in, what comes out, and in which JSON.
//!
//! One idea: the forms are those of Dapr's binding, down to its odd ones. Must never pass without a server.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use palladium_component::bindings::{Answer, Binding, BindingError, Operation};
use palladium_component::{CallError, OpenContext};
use palladium_peers::postgres_server::PostgresServer;
use serde_json::{Value, json};

async fn open(server: &PostgresServer, more: &[(&str, &str)]) -> Arc<dyn Binding> {
    let more = more.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let properties = server.metadata().into_iter().chain(more).collect();
    let drivers = palladium_components_bindings::DRIVERS;
    drivers
        .open("bindings.postgres", "v1", OpenContext::new("b", "app", properties))
        .await
        .unwrap()
}

async fn call(binding: &Arc<dyn Binding>, name: &str, sql: &str, params: Value) -> Result<Answer, BindingError> {
    let mut metadata = vec![("sql".to_owned(), sql.to_owned())];
    if !params.is_null() {
        metadata.push(("params".to_owned(), params.to_string()));
    }
    let operation = Operation {
        name: name.to_owned(),
        metadata: metadata.into_iter().collect(),
        ..Operation::default()
    };
    binding.invoke(&operation).await
}

async fn rows(binding: &Arc<dyn Binding>, sql: &str, params: Value) -> Value {
    let answer = call(binding, "query", sql, params).await.unwrap();
    serde_json::from_slice(&answer.data.unwrap()).unwrap()
}

const MODES: [&str; 3] = ["", "exec", "simple_protocol"];

#[tokio::test]
async fn statements_change_and_queries_tell() {
    let server = PostgresServer::start().await;
    for mode in MODES {
        let binding = open(&server, &[("queryExecMode", mode), ("maxConns", "2")]).await;
        let several = "DROP TABLE IF EXISTS foo; CREATE TABLE foo (id int PRIMARY KEY, c1 text, ts timestamptz); \
                       INSERT INTO foo VALUES (1, 'one', NULL), (2, 'two', NULL)";
        let answer = call(&binding, "exec", several, Value::Null).await.unwrap();
        assert!(answer.data.is_none());
        let said = |name: &str| answer.metadata[name].as_str();
        assert_eq!(
            (said("operation"), said("sql"), said("rows-affected")),
            ("exec", several, "2")
        );
        assert!(
            said("duration").ends_with('s') && said("start-time").ends_with('Z') && said("end-time").ends_with('Z')
        );

        let insert = "INSERT INTO foo (id, c1, ts) VALUES ($1, $2, $3)";
        let params = json!([3, "it's", "2020-01-02T03:04:05.5+01:00"]);
        let answer = call(&binding, "exec", insert, params).await.unwrap();
        assert_eq!(answer.metadata["rows-affected"], "1");
        let found = rows(&binding, "SELECT * FROM foo WHERE id > $1 ORDER BY id", json!([1])).await;
        assert_eq!(found, json!([[2, "two", null], [3, "it's", "2020-01-02T02:04:05.5Z"]]));
        assert_eq!(rows(&binding, "SELECT 1 WHERE false", Value::Null).await, json!([]));
        let found = rows(
            &binding,
            "UPDATE foo SET c1 = $1 WHERE id = $2 RETURNING id",
            json!([null, "2"]),
        )
        .await;
        assert_eq!(found, json!([[2]]));
        // A statement that is prepared already, on a table that changes.
        let all = "SELECT * FROM foo WHERE id = $1";
        assert_eq!(rows(&binding, all, json!([1])).await, json!([[1, "one", null]]));
        call(
            &binding,
            "exec",
            "ALTER TABLE foo ADD COLUMN more int DEFAULT 7",
            Value::Null,
        )
        .await
        .unwrap();
        for _ in 0..3 {
            assert_eq!(rows(&binding, all, json!([1])).await, json!([[1, "one", null, 7]]));
        }
        binding.close().await.unwrap();
    }
}

#[tokio::test]
async fn values_in_daprs_json() {
    let server = PostgresServer::start().await;
    server.ask("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN small AS int CHECK (value < 10)");
    let binding = open(&server, &[]).await;
    for (sql, expected) in [
        ("true, 1::int2, 2::int4, 3::int8, 4::oid", json!([true, 1, 2, 3, 4])),
        ("1.5::float4, 0.1::float8", json!([1.5, 0.1])),
        (
            "'a\"\u{e4}'::text, 'b'::varchar, 'c'::char(3), 'd'::name",
            json!(["a\"ä", "b", "c  ", "d"]),
        ),
        ("'\\x0001ff'::bytea", json!(["AAH/"])),
        (
            "'{\"a\": [1, null]}'::json, '{\"b\": 1.5}'::jsonb",
            json!([{"a": [1, null]}, {"b": 1.5}]),
        ),
        (
            "'2020-01-02'::date, '2020-01-02 03:04:05'::timestamp",
            json!(["2020-01-02T00:00:00Z", "2020-01-02T03:04:05Z"]),
        ),
        (
            "'1 year 2 days 3 s'::interval",
            json!([{"Microseconds": 3_000_000, "Days": 2, "Months": 12, "Valid": true}]),
        ),
        ("'00:00:01'::time", json!([{"Microseconds": 1_000_000, "Valid": true}])),
        (
            "'00010203-0405-0607-0809-0a0b0c0d0e0f'::uuid",
            json!([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]]),
        ),
        (
            "'10.0.0.1'::inet, '10.0.0.0/8'::cidr",
            json!(["10.0.0.1/32", "10.0.0.0/8"]),
        ),
        ("'happy'::mood, 7::small", json!(["happy", 7])),
        (
            "ARRAY[1, NULL, 3], ARRAY[]::text[], ARRAY[['a','b'],['c','d']]",
            json!([[1, null, 3], [], [["a", "b"], ["c", "d"]]]),
        ),
        ("NULL, pg_sleep(0)", json!([null, ""])),
    ] {
        assert_eq!(
            rows(&binding, &format!("SELECT {sql}"), Value::Null).await,
            json!([expected]),
            "{sql}"
        );
    }
    // Every digit, which a library that reads JSON may lose.
    let answer = call(
        &binding,
        "query",
        "SELECT 12345678901234567890.1200, -0.05",
        Value::Null,
    )
    .await
    .unwrap();
    assert_eq!(answer.data.unwrap(), "[[12345678901234567890.1200,-0.05]]");
    let error = call(&binding, "query", "SELECT 1 AS n, point(1, 2) AS p", Value::Null)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"p\"") && error.contains("POINT") && error.contains("::text"),
        "{error}"
    );
    // The connection on which that was is not used again with the rest of the answer on it.
    assert_eq!(rows(&binding, "SELECT 5", Value::Null).await, json!([[5]]));
}

#[tokio::test]
async fn parameters_take_the_forms_of_their_types() {
    let server = PostgresServer::start().await;
    server.ask("CREATE SCHEMA app; CREATE TYPE app.\"Mood\" AS ENUM ('sad', 'happy')");
    let binding = open(&server, &[]).await;
    for (sql, param, expected) in [
        ("$1::int", json!("5"), json!(5)),
        ("$1::int8", json!(5.0), json!(5)),
        ("$1::text", json!(5), json!("5")),
        ("$1::bool", json!("yes"), json!(true)),
        ("$1::numeric", json!(1.25), json!(1.25)),
        ("$1::date", json!("2020-02-29"), json!("2020-02-29T00:00:00Z")),
        (
            "$1::uuid::text",
            json!("00010203-0405-0607-0809-0a0b0c0d0e0f"),
            json!("00010203-0405-0607-0809-0a0b0c0d0e0f"),
        ),
        ("$1::bytea", json!("\\x00ff"), json!("AP8=")),
        ("$1::app.\"Mood\"", json!("happy"), json!("happy")),
        ("$1::jsonb", json!({"a": "b"}), json!({"a": "b"})),
        ("$1::text[]", json!(["a,b", null, "\"\\"]), json!(["a,b", null, "\"\\"])),
        ("$1::int[]", json!([1, 2]), json!([1, 2])),
        ("$1::interval", json!(null), json!(null)),
    ] {
        let found = rows(&binding, &format!("SELECT {sql}"), json!([param])).await;
        assert_eq!(found, json!([[expected]]), "{sql} {param}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_without_values() {
    let server = PostgresServer::start().await;
    let binding = open(&server, &[("timeout", "1s")]).await;
    for (name, sql, params, said) in [
        ("exec", "", Value::Null, "required metadata not set: sql"),
        ("dance", "SELECT 1", Value::Null, "invalid operation type: dance"),
        ("query", "SELECT $1::int", Value::Null, "expected 1 arguments, got 0"),
        ("exec", "SELECT 1", json!([1]), "expected 0 arguments, got 1"),
        ("query", "SELECT $1::int", json!(["hunter2"]), "SQLSTATE 22P02"),
        ("query", "SELECT $1::int2", json!([70000]), "does not fit"),
        ("exec", "SELEC 1", Value::Null, "SQLSTATE 42601"),
        ("query", "SELECT pg_sleep(20)", Value::Null, "did not answer within 1s"),
        ("exec", "SELECT pg_sleep(20)", Value::Null, "did not answer within 1s"),
    ] {
        let error = call(&binding, name, sql, params).await.unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains("hunter2"), "{said}: {error}");
    }
    assert_eq!(rows(&binding, "SELECT 5", Value::Null).await, json!([[5]]));
}

#[tokio::test]
async fn a_closed_binding_stays_closed() {
    let server = PostgresServer::start().await;
    let binding = open(&server, &[]).await;
    for _ in 0..2 {
        call(&binding, "close", "", Value::Null).await.unwrap();
    }
    let error = call(&binding, "query", "SELECT 1", Value::Null).await.unwrap_err();
    assert!(
        matches!(&error.error, CallError::Unavailable(said) if said == "component is closed"),
        "{error}"
    );
}
