//! Two writers meet: etags, first and last writes, races.
//!
//! One idea: whoever loses is told so as an etag failure, and the winner's value stands. Must never say which writer
//! wins a race, only that exactly one does.

use palladium_component::StateError;
use palladium_component::state::{Concurrency, DeleteRequest, Operation, SetRequest, TransactRequest};

use super::Backend;
use super::requests::{Space, first, is_etag_failure, with_etag};

/// Who holds the newest etag may write and delete.
pub async fn etag_that_matches(backend: &Backend) {
    let space = Space::open(backend).await;
    space.put("k", "one").await;
    let etag = space.etag("k").await;
    space.store.set(&with_etag(space.set("k", "two"), &etag)).await.unwrap();
    assert_eq!(space.value("k").await.unwrap(), "two");
    let etag = space.etag("k").await;
    space
        .store
        .set(&first(with_etag(space.set("k", "three"), &etag)))
        .await
        .unwrap();
    let etag = space.etag("k").await;
    space
        .store
        .delete(&DeleteRequest {
            etag: Some(etag),
            ..space.delete("k")
        })
        .await
        .unwrap();
    assert!(space.value("k").await.is_none());
}

/// Who holds an old one may not, and nothing changes.
pub async fn etag_that_does_not(backend: &Backend) {
    let space = Space::open(backend).await;
    space.put("k", "one").await;
    let old = space.etag("k").await;
    space.put("k", "two").await;
    for concurrency in [Concurrency::Unspecified, Concurrency::FirstWrite] {
        let request = SetRequest {
            concurrency,
            ..with_etag(space.set("k", "wrong"), &old)
        };
        assert!(is_etag_failure(&space.store.set(&request).await), "{concurrency:?}");
    }
    let delete = DeleteRequest {
        etag: Some(old.clone()),
        ..space.delete("k")
    };
    assert!(is_etag_failure(&space.store.delete(&delete).await));
    assert_eq!(space.value("k").await.unwrap(), "two");
    // An absent key has no etag at all.
    assert!(is_etag_failure(
        &space.store.set(&with_etag(space.set("absent", "x"), &old)).await
    ));
    assert!(is_etag_failure(
        &space
            .store
            .delete(&DeleteRequest {
                etag: Some(old),
                ..space.delete("absent")
            })
            .await
    ));
    assert!(space.value("absent").await.is_none());
}

/// An etag that this store cannot have made is refused as etag, not as an accident; an empty one is none.
pub async fn nonsense_etags(backend: &Backend) {
    let space = Space::open(backend).await;
    space.put("k", "one").await;
    for etag in ["nonsense", "-1", "1e3", "💥"] {
        assert!(
            is_etag_failure(&space.store.set(&with_etag(space.set("k", "wrong"), etag)).await),
            "{etag}"
        );
        assert!(
            is_etag_failure(
                &space
                    .store
                    .delete(&DeleteRequest {
                        etag: Some(etag.into()),
                        ..space.delete("k")
                    })
                    .await
            ),
            "{etag}"
        );
    }
    assert_eq!(space.value("k").await.unwrap(), "one");
    space.store.set(&with_etag(space.set("k", "two"), "")).await.unwrap();
    assert_eq!(space.value("k").await.unwrap(), "two");
}

/// A first write makes a key and never changes one.
pub async fn first_write(backend: &Backend) {
    let space = Space::open(backend).await;
    space.store.set(&first(space.set("k", "one"))).await.unwrap();
    assert!(is_etag_failure(&space.store.set(&first(space.set("k", "two"))).await));
    assert_eq!(space.value("k").await.unwrap(), "one");
    space.store.delete(&space.delete("k")).await.unwrap();
    space.store.set(&first(space.set("k", "three"))).await.unwrap();
    assert_eq!(space.value("k").await.unwrap(), "three");
    // Also over a key that was written without it.
    space.put("plain", "one").await;
    assert!(is_etag_failure(
        &space.store.set(&first(space.set("plain", "two"))).await
    ));
}

/// A last write without an etag always wins.
pub async fn last_write(backend: &Backend) {
    let space = Space::open(backend).await;
    let last = |request: SetRequest| SetRequest {
        concurrency: Concurrency::LastWrite,
        ..request
    };
    space.store.set(&first(space.set("k", "one"))).await.unwrap();
    let old = space.etag("k").await;
    space.store.set(&last(space.set("k", "two"))).await.unwrap();
    space.put("k", "three").await;
    assert_eq!(space.value("k").await.unwrap(), "three");
    let outcome = space.store.set(&last(with_etag(space.set("k", "four"), &old))).await;
    assert_eq!(outcome.is_ok(), backend.last_write_ignores_etag, "{outcome:?}");
}

/// A store without etags takes every write, whatever the caller hoped for.
pub async fn conditions_are_ignored(backend: &Backend) {
    assert!(backend.only_cache, "for stores without etags");
    let space = Space::open(backend).await;
    space.put("k", "one").await;
    space.store.set(&with_etag(space.set("k", "two"), "17")).await.unwrap();
    assert_eq!(space.value("k").await.unwrap(), "two");
    space.store.set(&first(space.set("k", "three"))).await.unwrap();
    assert_eq!(space.value("k").await.unwrap(), "three");
    let delete = DeleteRequest {
        etag: Some("17".into()),
        ..space.delete("k")
    };
    space.store.delete(&delete).await.unwrap();
    assert!(space.value("k").await.is_none());
    let transaction = TransactRequest {
        operations: vec![Operation::Set(space.set("k", "four"))],
        ..TransactRequest::default()
    };
    let refused = space.store.transact(&transaction).await;
    assert!(matches!(refused, Err(StateError::NotSupported(_))), "{refused:?}");
    assert!(space.value("k").await.is_none());
}

/// Of many who write a new key first, exactly one does.
pub async fn one_first_writer_wins(backend: &Backend) {
    let space = Space::open(backend).await;
    for round in 0..5 {
        let key = format!("k{round}");
        let writers = (0..24).map(|writer| (writer, first(space.set(&key, writer.to_string()))));
        let winners = race(&space, writers.collect()).await;
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(space.value(&key).await.unwrap(), winners[0].to_string());
    }
}

/// Of many who hold the same etag, exactly one may use it.
pub async fn one_holder_of_an_etag_wins(backend: &Backend) {
    let space = Space::open(backend).await;
    space.put("k", "start").await;
    for round in 0..5 {
        let etag = space.etag("k").await;
        let writers = (0..24).map(|writer| (writer, with_etag(space.set("k", format!("{round}-{writer}")), &etag)));
        let winners = race(&space, writers.collect()).await;
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(space.value("k").await.unwrap(), format!("{round}-{}", winners[0]));
    }
}

/// A counter incremented by many with etags misses no increment.
pub async fn no_increment_is_lost(backend: &Backend) {
    const TASKS: u32 = 6;
    const INCREMENTS: u32 = 15;
    let space = Space::open(backend).await;
    space.put("counter", "0").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let (store, get) = (space.store.clone(), space.get("counter"));
        tasks.spawn(async move {
            let mut done = 0;
            while done < INCREMENTS {
                let found = store.get(&get).await.unwrap();
                let text = String::from_utf8(found.value.unwrap().to_vec()).unwrap();
                let next = (text.parse::<u32>().unwrap() + 1).to_string();
                let set = SetRequest {
                    key: get.key.clone(),
                    value: next.into(),
                    etag: found.etag,
                    ..SetRequest::default()
                };
                match store.set(&set).await {
                    Ok(()) => done += 1,
                    Err(error) => assert!(error.is_etag(), "{error}"),
                }
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(space.value("counter").await.unwrap(), (TASKS * INCREMENTS).to_string());
}

/// Runs all writes at once and names those that succeeded; the others must have failed by etag.
async fn race(space: &Space, writers: Vec<(u32, SetRequest)>) -> Vec<u32> {
    let mut tasks = tokio::task::JoinSet::new();
    for (writer, request) in writers {
        let store = space.store.clone();
        tasks.spawn(async move { (writer, store.set(&request).await) });
    }
    let outcomes = tasks.join_all().await;
    for (_, outcome) in &outcomes {
        assert!(outcome.is_ok() || is_etag_failure(outcome), "{outcome:?}");
    }
    outcomes
        .into_iter()
        .filter(|(_, outcome)| outcome.is_ok())
        .map(|(writer, _)| writer)
        .collect()
}
