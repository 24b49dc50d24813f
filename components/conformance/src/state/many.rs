//! Many keys in one call: bulk calls, where each is on its own, and transactions, where none is.
//!
//! One idea: in a bulk call a failure is one item's, in a transaction everybody's, wherever the failing step stands.
//! Must never depend on the order in which a store runs a bulk call in parallel.

use std::collections::HashMap;

use palladium_component::StateError;
use palladium_component::state::{
    BulkOptions, DeleteRequest, Feature, GetRequest, Metadata, Operation, SetRequest, TransactRequest,
};

use super::Backend;
use super::requests::{Space, first, is_etag_failure, with_etag, with_ttl};

/// One item per request, absent keys and repeated ones included.
pub async fn bulk_get(backend: &Backend) {
    let space = Space::open(backend).await;
    assert!(
        space
            .store
            .bulk_get(&[], BulkOptions::default())
            .await
            .unwrap()
            .is_empty()
    );
    space.put("a", "1").await;
    space.put("b", "").await;
    space.store.set(&with_ttl(space.set("c", "3"), "3600")).await.unwrap();
    for parallelism in [0, 1, 1000] {
        let requests: Vec<GetRequest> = ["a", "b", "c", "absent", "a"]
            .iter()
            .map(|key| space.get(key))
            .collect();
        let items = space
            .store
            .bulk_get(&requests, BulkOptions { parallelism })
            .await
            .unwrap();
        assert_eq!(items.len(), 5);
        assert!(items.iter().all(|item| item.error.is_none()));
        let found: HashMap<&str, _> = items.iter().map(|item| (item.key.as_str(), item)).collect();
        assert_eq!(found[space.key("a").as_str()].value.as_deref(), Some(&b"1"[..]));
        assert_eq!(found[space.key("b").as_str()].value.as_deref(), Some(&b""[..]));
        let tells = found[space.key("c").as_str()].metadata.contains_key("ttlExpireTime");
        assert_eq!(tells, !backend.only_cache);
        assert_eq!(found[space.key("a").as_str()].etag, space.read("a").await.etag);
        let absent = found[space.key("absent").as_str()];
        assert!(absent.value.is_none() && absent.etag.is_none());
    }
    // More keys than a store would put into one statement.
    let requests: Vec<GetRequest> = (0..2500).map(|number| space.get(&format!("n{number}"))).collect();
    assert_eq!(
        space
            .store
            .bulk_get(&requests, BulkOptions::default())
            .await
            .unwrap()
            .len(),
        2500
    );
}

/// Many written and many deleted.
pub async fn bulk_set_and_delete(backend: &Backend) {
    let space = Space::open(backend).await;
    space.store.bulk_set(&[], BulkOptions::default()).await.unwrap();
    let sets: Vec<SetRequest> = (0..200)
        .map(|number| space.set(&format!("k{number}"), number.to_string()))
        .collect();
    space.store.bulk_set(&sets, BulkOptions::default()).await.unwrap();
    for number in [0, 99, 199] {
        assert_eq!(space.value(&format!("k{number}")).await.unwrap(), number.to_string());
    }
    // The same key twice: the later one counts.
    space
        .store
        .bulk_set(
            &[space.set("k0", "first"), space.set("k0", "second")],
            BulkOptions { parallelism: 1 },
        )
        .await
        .unwrap();
    assert_eq!(space.value("k0").await.unwrap(), "second");
    let deletes: Vec<DeleteRequest> = (0..200).map(|number| space.delete(&format!("k{number}"))).collect();
    space.store.bulk_delete(&deletes, BulkOptions::default()).await.unwrap();
    space
        .store
        .bulk_delete(&deletes, BulkOptions::default())
        .await
        .expect("absent keys are fine");
    assert!(space.value("k0").await.is_none() && space.value("k199").await.is_none());
}

/// An item that fails leaves the others alone.
pub async fn bulk_failures_leave_the_others(backend: &Backend) {
    let space = Space::open(backend).await;
    space.put("a", "old").await;
    let stale = space.etag("a").await;
    space.put("a", "current").await;
    let sets = [
        with_etag(space.set("a", "wrong"), &stale),
        space.set("b", "written"),
        first(space.set("c", "written")),
    ];
    let outcome = space.store.bulk_set(&sets, BulkOptions::default()).await;
    assert!(is_etag_failure(&outcome), "{outcome:?}");
    if let Err(StateError::Bulk(failures)) = &outcome {
        assert!(failures.len() == 1 && failures[0].key == space.key("a"));
    }
    assert_eq!(space.value("a").await.unwrap(), "current");
    assert!(space.value("b").await.is_some() && space.value("c").await.is_some());
    let deletes = [
        DeleteRequest {
            etag: Some(stale),
            ..space.delete("a")
        },
        space.delete("b"),
    ];
    assert!(is_etag_failure(
        &space.store.bulk_delete(&deletes, BulkOptions::default()).await
    ));
    assert!(space.value("a").await.is_some() && space.value("b").await.is_none());
}

/// A transaction does all of its steps.
pub async fn transactions(backend: &Backend) {
    let space = Space::open(backend).await;
    space.put("gone", "x").await;
    space.put("changed", "one").await;
    let etag = space.etag("changed").await;
    let steps = vec![
        Operation::Set(space.set("new", "1")),
        Operation::Set(with_etag(space.set("changed", "two"), &etag)),
        Operation::Set(first(space.set("first", ""))),
        Operation::Set(with_ttl(space.set("life", "v"), "3600")),
        Operation::Delete(space.delete("gone")),
        Operation::Delete(space.delete("absent")),
    ];
    transact(&space, steps).await.unwrap();
    assert_eq!(space.value("new").await.unwrap(), "1");
    assert_eq!(space.value("changed").await.unwrap(), "two");
    assert_eq!(space.value("first").await.unwrap(), "");
    assert!(space.read("life").await.metadata.contains_key("ttlExpireTime"));
    assert!(space.value("gone").await.is_none());
    transact(&space, vec![]).await.expect("nothing to do is done");
    // As many steps as the store says it takes.
    let steps = |count| {
        let step = |number| Operation::Set(space.set(&format!("n{number}"), format!("{number} of {count}")));
        (1..=count).map(step).collect()
    };
    let max = space.store.max_transaction_operations().await.unwrap();
    let many = max.unwrap_or(500);
    transact(&space, steps(many)).await.unwrap();
    let last = format!("n{many}");
    assert_eq!(space.value(&last).await.unwrap(), format!("{many} of {many}"));
    if max.is_some() {
        assert!(transact(&space, steps(many + 1)).await.is_err());
        assert_eq!(space.value(&last).await.unwrap(), format!("{many} of {many}"));
    }
}

/// One condition that does not hold undoes every step, wherever it stands.
pub async fn transactions_roll_back(backend: &Backend) {
    let space = Space::open(backend).await;
    space.put("k", "old").await;
    let stale = space.etag("k").await;
    space.put("k", "current").await;
    space.put("kept", "kept").await;
    let wrong = [
        Operation::Set(with_etag(space.set("k", "wrong"), &stale)),
        Operation::Delete(DeleteRequest {
            etag: Some(stale.clone()),
            ..space.delete("k")
        }),
        Operation::Set(first(space.set("k", "wrong"))),
        Operation::Set(with_ttl(space.set("k", "wrong"), "soon")),
    ];
    for step in wrong {
        for at in 0..3 {
            let mut steps = vec![
                Operation::Set(space.set("new", "x")),
                Operation::Delete(space.delete("kept")),
            ];
            steps.insert(at, step.clone());
            let outcome = transact(&space, steps).await;
            assert!(outcome.is_err(), "{step:?} at {at}");
            assert!(space.value("new").await.is_none(), "{step:?} at {at}: a write remained");
            assert_eq!(
                space.value("kept").await.unwrap(),
                "kept",
                "{step:?} at {at}: a delete remained"
            );
            assert_eq!(space.value("k").await.unwrap(), "current");
        }
    }
}

/// Steps on the same key happen in their order.
pub async fn transactions_in_order(backend: &Backend) {
    let space = Space::open(backend).await;
    space.put("a", "old").await;
    let steps = vec![
        Operation::Delete(space.delete("a")),
        Operation::Set(space.set("a", "new")),
        Operation::Set(space.set("b", "x")),
        Operation::Delete(space.delete("b")),
        Operation::Set(space.set("c", "1")),
        Operation::Set(space.set("c", "2")),
    ];
    transact(&space, steps).await.unwrap();
    assert_eq!(space.value("a").await.unwrap(), "new");
    assert!(space.value("b").await.is_none());
    assert_eq!(space.value("c").await.unwrap(), "2");
}

/// Many writers of different keys are not in each other's way, and none is lost.
pub async fn parallel_writers(backend: &Backend) {
    let space = Space::open(backend).await;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let store = space.store.clone();
        let sets: Vec<SetRequest> = (0..20)
            .map(|number| space.set(&format!("w{writer}-{number}"), format!("{writer}-{number}")))
            .collect();
        tasks.spawn(async move {
            for set in &sets {
                store.set(set).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let requests: Vec<GetRequest> = (0..16)
        .flat_map(|writer| (0..20).map(move |number| format!("w{writer}-{number}")))
        .map(|key| space.get(&key))
        .collect();
    let items = space.store.bulk_get(&requests, BulkOptions::default()).await.unwrap();
    for item in items {
        let expected = item.key.rsplit_once("||w").map(|(_, rest)| rest.to_string());
        assert_eq!(
            item.value.map(|value| String::from_utf8_lossy(&value).into_owned()),
            expected
        );
    }
}

/// Keys by pattern, page by page, in the order of their bytes. What a store without that answers is not its business.
pub async fn keys_like(backend: &Backend) {
    let space = Space::open(backend).await;
    if !space.store.features().has(Feature::KeysLike) {
        let refused = space.store.keys_like("%", "", 1).await;
        assert!(matches!(refused, Err(StateError::NotSupported(_))), "{refused:?}");
        return;
    }
    for key in ["b", "a_1", "ab1", "a%", "B", "é", "gone"] {
        space.put(key, "v").await;
    }
    space.store.delete(&space.delete("gone")).await.unwrap();
    let listed = async |pattern: &str, after: &str, limit| {
        let after = if after.is_empty() {
            String::new()
        } else {
            space.key(after)
        };
        let keys = space.store.keys_like(&space.key(pattern), &after, limit).await.unwrap();
        let own = |key: &String| key.rsplit_once("||").map(|(_, key)| key.to_string()).unwrap();
        keys.iter().map(own).collect::<Vec<String>>()
    };
    assert_eq!(listed("%", "", 100).await, ["B", "a%", "a_1", "ab1", "b", "é"]);
    assert_eq!(listed("%", "", 2).await, ["B", "a%"]);
    assert_eq!(listed("%", "a%", 2).await, ["a_1", "ab1"]);
    assert_eq!(listed("a_1", "", 100).await, ["a_1", "ab1"]);
    assert_eq!(listed(r"a\_1", "", 100).await, ["a_1"]);
    assert_eq!(listed(r"a\%", "", 100).await, ["a%"]);
    assert!(listed("nothing%", "", 100).await.is_empty());
}

async fn transact(space: &Space, operations: Vec<Operation>) -> Result<(), StateError> {
    space
        .store
        .transact(&TransactRequest {
            operations,
            metadata: Metadata::new(),
        })
        .await
}
