//! Our drivers of locks and configuration beside Dapr's own, on one Redis: a lock that one has the other cannot take, and both
//! read the same configuration. Needs Dapr's `daprd`: `PALLADIUM_PEERS` names the folder that `./dev peers` prints.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use palladium_component::OpenContext;
use palladium_component::configuration::Selection;
use palladium_component::lock::Unlocked;
use palladium_conformance::daprd::Daprd;
use palladium_conformance::redis_server::RedisServer;

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn redis_locks() {
    let server = RedisServer::start().await;
    let metadata = server.metadata();
    let context = OpenContext::new("store", "orders", metadata.iter().cloned().collect());
    let (theirs, ours) = tokio::join!(
        Daprd::start("lock.redis", "v1", &metadata, &[]),
        palladium_components_lock::DRIVERS.open("lock.redis", "v1", context)
    );
    let ours = ours.unwrap();
    let ask = async |what: &str, owner: &str| {
        let body = format!(r#"{{"resourceId": "r", "lockOwner": "{owner}", "expiryInSeconds": 600}}"#);
        theirs.call("POST", &format!("/v1.0-alpha1/{what}/store"), &body).await.body
    };
    // As both prefix it for this App ID.
    let key = "lock||orders||r";
    assert_eq!(ask("lock", "them").await, r#"{"success":true}"#);
    assert!(!ours.try_lock(key, "us", LONG).await.unwrap());
    assert_eq!(ours.unlock(key, "us").await.unwrap(), Unlocked::BelongsToOthers);
    assert_eq!(ours.unlock(key, "them").await.unwrap(), Unlocked::Success);
    assert_eq!(ask("unlock", "them").await, r#"{"status":1}"#);
    assert!(ours.try_lock(key, "us", LONG).await.unwrap());
    assert_eq!(ask("lock", "them").await, r#"{"success":false}"#);
    assert_eq!(ask("unlock", "them").await, r#"{"status":2}"#);
    assert_eq!(ask("unlock", "us").await, r#"{"status":0}"#);
    assert_eq!(ours.unlock(key, "us").await.unwrap(), Unlocked::DoesNotExist);
}

#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn redis_configuration() {
    let server = RedisServer::start().await;
    let metadata = server.metadata();
    let mut connection = server.connection().await;
    for (key, value) in [("plain", "v"), ("versioned", "v||1"), ("more", "a||b||c"), ("empty", "||1")] {
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
        let told: serde_json::Value = serde_json::from_str(&theirs.call("GET", &path, "").await.body).unwrap();
        let selection = Selection {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            ..Selection::default()
        };
        let items = ours.get(&selection).await.unwrap();
        let told = told.as_object().unwrap();
        assert_eq!(items.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>());
        for (key, item) in items {
            assert_eq!(told[&key]["value"], item.value.as_str(), "{key}");
            assert_eq!(told[&key]["version"].as_str().unwrap_or_default(), item.version, "{key}");
        }
    }
}
