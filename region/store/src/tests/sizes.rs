//! How much of a caller's data goes through at a time.

use bytes::Bytes;
use palladium_component::state::{BulkOptions, GetRequest, SetRequest};

use super::component;
use super::world::World;

/// What a Dapr Server takes from an application unless told otherwise.
const BODY: usize = 4 << 20;

fn set(key: &str, size: usize) -> SetRequest {
    SetRequest {
        key: key.into(),
        value: Bytes::from(vec![b'x'; size]),
        ..SetRequest::default()
    }
}

fn get(key: &str) -> GetRequest {
    GetRequest {
        key: key.into(),
        ..GetRequest::default()
    }
}

#[tokio::test]
async fn large_values_pass_alone_and_together_and_the_largest_is_refused_in_words() {
    let world = World::with(&[component("prj-a", "uid-1", "kvstore", &["orders"])]).await;
    let store = world.open("/ns/prj-a/orders", "kvstore").await;
    let keys: Vec<String> = (0..8).map(|number| format!("orders||{number}")).collect();
    for key in &keys {
        store.set(&set(key, BODY)).await.unwrap();
    }
    let together: Vec<_> = keys[..3].iter().map(|key| set(key, BODY)).collect();
    store.bulk_set(&together, BulkOptions::default()).await.unwrap();
    let wanted: Vec<_> = keys.iter().map(|key| get(key)).collect();
    let found = store.bulk_get(&wanted, BulkOptions::default()).await.unwrap();
    assert_eq!(found.len(), keys.len());
    for item in found {
        let value = item.value.unwrap();
        assert_eq!(value.len(), BODY);
    }
    store.set(&set("orders||large", 15 << 20)).await.unwrap();
    let refused = store
        .set(&set("orders||larger", 17 << 20))
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("message length too large"), "{refused}");
    assert!(store.get(&get("orders||larger")).await.unwrap().value.is_none());
}
