//! Keys that expire.
//!
//! One idea: an expired key is absent in every respect: for reads, etags and first writes. Must never demand an exact
//! instant: stores count in whole seconds and sweep when they like.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Backend;
use super::requests::{Space, first, is_etag_failure, with_etag, with_ttl};

/// Longest wait for something that expires after a second: stores count in whole seconds.
const PATIENCE: Duration = Duration::from_secs(6);

/// A key with a life ends, says before when, and is gone in every respect.
pub async fn expires(backend: &Backend) {
    let space = Space::open(backend).await;
    space
        .store
        .set(&with_ttl(space.set("long", "v"), "3600"))
        .await
        .unwrap();
    let ends = space.read("long").await.metadata.remove("ttlExpireTime");
    space.store.set(&with_ttl(space.set("k", "v"), "2")).await.unwrap();
    assert_eq!(space.value("k").await.unwrap(), "v");
    if backend.only_cache {
        assert!(ends.is_none());
        return gone(&space, "k").await;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((now + 3500..now + 3700).contains(&unix_seconds(&ends.unwrap())));
    let etag = space.etag("k").await;
    gone(&space, "k").await;
    assert!(is_etag_failure(
        &space.store.set(&with_etag(space.set("k", "wrong"), &etag)).await
    ));
    space
        .store
        .set(&first(space.set("k", "new")))
        .await
        .expect("an expired key is absent for a first write");
    let again = space.read("k").await;
    assert!(again.value.unwrap() == "new" && again.metadata.is_empty());
}

/// -1 is for ever, and so is nothing at all.
pub async fn never_expires(backend: &Backend) {
    let space = Space::open(backend).await;
    space.store.set(&with_ttl(space.set("minus", "v"), "-1")).await.unwrap();
    space.put("plain", "v").await;
    for key in ["minus", "plain"] {
        assert!(space.read(key).await.metadata.is_empty(), "{key}");
    }
    space.store.set(&with_ttl(space.set("k", "v"), "1")).await.unwrap();
    space.store.set(&with_ttl(space.set("k", "v"), "-1")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert!(space.value("k").await.is_some(), "-1 takes a life away");
}

/// The newest write decides how long a key lives.
pub async fn rewritten_ttl(backend: &Backend) {
    let space = Space::open(backend).await;
    space.store.set(&with_ttl(space.set("longer", "v"), "1")).await.unwrap();
    space
        .store
        .set(&with_ttl(space.set("longer", "v"), "3600"))
        .await
        .unwrap();
    space
        .store
        .set(&with_ttl(space.set("shorter", "v"), "3600"))
        .await
        .unwrap();
    space
        .store
        .set(&with_ttl(space.set("shorter", "v"), "1"))
        .await
        .unwrap();
    space
        .store
        .set(&with_ttl(space.set("plain", "v"), "3600"))
        .await
        .unwrap();
    space.put("plain", "v").await;
    assert_eq!(!space.read("plain").await.metadata.is_empty(), backend.write_keeps_ttl);
    gone(&space, "shorter").await;
    assert!(space.value("longer").await.is_some());
}

/// A life that is no number is refused, and nothing is written.
pub async fn bad_ttl(backend: &Backend) {
    let space = Space::open(backend).await;
    for seconds in ["soon", "-2", "1.5", "99999999999"] {
        let outcome = space.store.set(&with_ttl(space.set("k", "v"), seconds)).await;
        assert!(
            outcome
                .as_ref()
                .is_err_and(|error| error.to_string().contains("ttlInSeconds")),
            "{seconds}: {outcome:?}"
        );
    }
    assert!(space.value("k").await.is_none());
}

/// Of a moment as `2026-01-31T23:59:59Z`.
fn unix_seconds(text: &str) -> u64 {
    assert!(text.len() == 20 && text.ends_with('Z'), "{text}");
    let number = |range: std::ops::Range<usize>| text[range].parse::<u64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    // Days of the civil calendar, with March as the first month.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    days * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19)
}

async fn gone(space: &Space, key: &str) {
    let started = Instant::now();
    while space.value(key).await.is_some() {
        assert!(started.elapsed() < PATIENCE, "{key} does not expire");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
