//! Our configuration store beside Dapr's own, on one Redis: both read the same. Needs Dapr's `daprd`: `PALLADIUM_PEERS` names
//! the folder that `./dev peers` prints.
//!
//! One idea: it is the original that is asked, never a copy of its behaviour. Must never pass without it.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use palladium_component::OpenContext;
use palladium_component::configuration::Selection;
use palladium_peers::daprd::Daprd;
use palladium_peers::redis_server::RedisServer;

#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn redis_configuration() {
    let server = RedisServer::start().await;
    let metadata = server.metadata();
    let mut connection = server.connection().await;
    for (key, value) in [
        ("plain", "v"),
        ("versioned", "v||1"),
        ("more", "a||b||c"),
        ("empty", "||1"),
    ] {
        let set = redis::cmd("SET").arg(key).arg(value).to_owned();
        let _: redis::Value = set.query_async(&mut connection).await.unwrap();
    }
    let list = redis::cmd("RPUSH").arg("list").arg("x").to_owned();
    let _: redis::Value = list.query_async(&mut connection).await.unwrap();
    let context = OpenContext::new("store", "orders", metadata.iter().cloned().collect());
    let (theirs, ours) = tokio::join!(
        Daprd::start("configuration.redis", "v1", &metadata, &[]),
        palladium_components_configuration::DRIVERS.open("configuration.redis", "v1", context)
    );
    let ours = ours.unwrap();
    for keys in [&[][..], &["plain", "versioned", "list", "missing"]] {
        let query: Vec<String> = keys.iter().map(|key| format!("key={key}")).collect();
        let path = format!("/v1.0/configuration/store?{}", query.join("&"));
        let told: serde_json::Value = serde_json::from_str(&theirs.api.call("GET", &path, "").await.body).unwrap();
        let selection = Selection {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            ..Selection::default()
        };
        let items = ours.get(&selection).await.unwrap();
        let told = told.as_object().unwrap();
        assert_eq!(items.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>());
        for (key, item) in items {
            assert_eq!(told[&key]["value"], item.value.as_str(), "{key}");
            assert_eq!(
                told[&key]["version"].as_str().unwrap_or_default(),
                item.version,
                "{key}"
            );
        }
    }
}
