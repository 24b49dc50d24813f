//! The suite over every configuration store driver of the registry.
//!
//! One idea: a line of [`suites!`] both runs a driver and says so; what is registered and has no line fails a test. Must
//! never pass by the absence of a server.

use std::sync::Arc;

use ::redis::cmd;
use palladium_component::{ConfigurationStore, OpenContext, Properties};
use palladium_conformance::configuration::{Act, Backend};
use palladium_peers::postgres_server::PostgresServer;
use palladium_peers::redis_server::RedisServer;
use sqlx::Executor as _;
use tokio::sync::Mutex;

/// `module: type => backend;` runs the suite over what `backend(type)` makes.
macro_rules! suites {
    ($($module:ident: $type_name:literal => $backend:path;)+) => {
        $(mod $module {
            use super::*;

            async fn backend() -> Backend {
                $backend($type_name).await
            }

            palladium_conformance::configuration_suite!(backend);
        })+

        /// Types that are run here.
        const RUN: &[&str] = &[$($type_name),+];
    };
}

suites! {
    postgresql: "configuration.postgresql" => postgres_server;
    redis: "configuration.redis" => redis_server;
}

#[test]
fn every_registered_driver_is_run_through_the_suite() {
    for driver in palladium_components_configuration::DRIVERS.drivers {
        assert!(
            RUN.contains(&driver.type_name) && driver.versions == ["v1"],
            "{} is registered and not run through the suite: add a line to suites!",
            driver.type_name
        );
    }
}

async fn open(type_name: &str, properties: Properties) -> Arc<dyn ConfigurationStore> {
    let context = OpenContext::new("configuration", "myapp", properties);
    let opened = palladium_components_configuration::DRIVERS
        .open(type_name, "", context)
        .await;
    opened.expect("the store opens")
}

/// What the operator makes: a table, and Dapr's trigger on it.
const TABLE: &str = "
    CREATE TABLE configuration (key VARCHAR NOT NULL, value VARCHAR NOT NULL, version VARCHAR NOT NULL, metadata JSON);
    CREATE FUNCTION tell() RETURNS TRIGGER AS $$
    DECLARE
        changed json;
    BEGIN
        IF (TG_OP = 'DELETE') THEN changed = row_to_json(OLD); ELSE changed = row_to_json(NEW); END IF;
        PERFORM pg_notify('changes', json_build_object('table', TG_TABLE_NAME, 'action', TG_OP, 'data', changed)::text);
        RETURN NULL;
    END;
    $$ LANGUAGE plpgsql;
    CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON configuration FOR EACH ROW EXECUTE PROCEDURE tell()";
const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

fn postgres_metadata(server: &PostgresServer, more: &[(&str, &str)]) -> Properties {
    let more = more.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let table = [("table".to_owned(), "configuration".to_owned())];
    server.metadata().into_iter().chain(table).chain(more).collect()
}

async fn postgres_server(type_name: &'static str) -> Backend {
    let server = PostgresServer::start().await;
    server.ask(TABLE);
    server.ask("CREATE UNIQUE INDEX ON configuration (key)");
    let connection = Arc::new(Mutex::new(server.connection().await));
    let metadata = postgres_metadata(&server, &[("notifyChannel", "changes")]);
    Backend {
        open: Box::new(move || Box::pin(open(type_name, metadata.clone()))),
        operate: Box::new(move |act| {
            let connection = connection.clone();
            let statement = match act {
                Act::Write(key, value, version) => sqlx::query(
                    "INSERT INTO configuration (key, value, version) VALUES ($1, $2, $3) \
                     ON CONFLICT (key) DO UPDATE SET value = $2, version = $3",
                )
                .bind(key)
                .bind(value)
                .bind(version),
                Act::Delete(key) => sqlx::query("DELETE FROM configuration WHERE key = $1").bind(key),
                Act::Cut => sqlx::query(CUT),
            };
            Box::pin(async move {
                let done = connection.lock().await.execute(statement).await;
                done.expect("the server does it");
            })
        }),
        keep: Box::new(server),
    }
}

async fn redis_server(type_name: &'static str) -> Backend {
    let server = RedisServer::start().await;
    let (metadata, connection) = (server.metadata(), server.connection().await);
    Backend {
        open: Box::new(move || Box::pin(open(type_name, metadata.clone().into_iter().collect()))),
        operate: Box::new(move |act| {
            let mut connection = connection.clone();
            let command = match act {
                Act::Write(key, value, "") => cmd("SET").arg(key).arg(value).to_owned(),
                Act::Write(key, value, version) => cmd("SET").arg(key).arg(format!("{value}||{version}")).to_owned(),
                Act::Delete(key) => cmd("DEL").arg(key).to_owned(),
                Act::Cut => cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").to_owned(),
            };
            Box::pin(async move {
                let done: Result<::redis::Value, _> = command.query_async(&mut connection).await;
                done.expect("the server does it");
            })
        }),
        keep: Box::new(server),
    }
}

/// Keys of other kinds in the same database, and notifications that somebody else has switched on.
#[tokio::test]
async fn redis_leaves_alone_what_is_not_configuration() {
    let server = RedisServer::start().await;
    let mut connection = server.connection().await;
    for command in [
        cmd("HSET").arg("hash").arg("f").arg("v"),
        cmd("SET").arg("empty").arg("||v1"),
        cmd("SET").arg("a").arg("1"),
        cmd("CONFIG").arg("SET").arg("notify-keyspace-events").arg("Em"),
    ] {
        let done: Result<::redis::Value, _> = command.query_async(&mut connection).await;
        done.expect("the server does it");
    }
    let store = open("configuration.redis", server.metadata().into_iter().collect()).await;
    let all = store.get(&Default::default()).await.expect("it reads");
    assert_eq!(all.keys().collect::<Vec<_>>(), ["a"]);
    let listening = store
        .subscribe(&Default::default(), Arc::new(Deaf))
        .await
        .expect("it subscribes");
    let now: Vec<String> = cmd("CONFIG")
        .arg("GET")
        .arg("notify-keyspace-events")
        .query_async(&mut connection)
        .await
        .expect("it tells");
    for event in "EmKg$xe".chars() {
        assert!(
            now[1].contains(event) || (now[1].contains('A') && event != 'm'),
            "{event} is missing in {}",
            now[1]
        );
    }
    drop(listening);
}

struct Deaf;

impl palladium_component::configuration::Listener for Deaf {
    fn changed(&self, _: palladium_component::configuration::Items) -> palladium_component::reply::BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
