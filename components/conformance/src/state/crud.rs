//! Single keys: written, read, changed, deleted, of every kind and size.
//!
//! One idea: a key and a value are bytes, and what went in comes out, whatever they look like to SQL, JSON or a glob.
//! Must never demand one store's form of an etag: only that it stays while reading and changes with writing.

use bytes::Bytes;
use palladium_component::StateError;
use palladium_component::state::{Feature, SetRequest, ValueForm};

use super::Backend;
use super::requests::Space;

/// The life of one key.
pub async fn create_read_update_delete(backend: &Backend) {
    let space = Space::open(backend).await;
    let absent = space.read("k").await;
    assert!(absent.value.is_none() && absent.etag.is_none() && absent.metadata.is_empty());
    space.put("k", "one").await;
    assert_eq!(space.value("k").await.unwrap(), "one");
    let etag = space.read("k").await.etag;
    assert_eq!(etag.is_none(), backend.only_cache);
    assert_eq!(space.read("k").await.etag, etag, "reading does not change an etag");
    space.put("k", "two").await;
    assert_eq!(space.value("k").await.unwrap(), "two");
    if !backend.only_cache {
        assert_ne!(space.read("k").await.etag, etag, "writing changes it");
    }
    space.store.delete(&space.delete("k")).await.unwrap();
    assert!(space.value("k").await.is_none());
    space
        .store
        .delete(&space.delete("k"))
        .await
        .expect("deleting an absent key succeeds");
}

/// Bytes come back as they went in.
pub async fn values_of_every_kind(backend: &Backend) {
    let space = Space::open(backend).await;
    let all_bytes: Vec<u8> = (0..=255).collect();
    let values: [(&str, Bytes, ValueForm); 7] = [
        ("empty", Bytes::new(), ValueForm::Binary),
        ("zero", Bytes::from_static(&[0]), ValueForm::Binary),
        ("binary", all_bytes.into(), ValueForm::Binary),
        ("text", "Grüße 😀 \u{2028}".into(), ValueForm::Binary),
        ("json", r#"{"a":[1,2.50,"\u003c"],"b":null}"#.into(), ValueForm::Json),
        ("json-text", "\"plain\"".into(), ValueForm::Json),
        ("json-nul", r#"{"a":"x\u0000y"}"#.into(), ValueForm::Json),
    ];
    for (key, value, form) in values {
        let request = SetRequest {
            form,
            ..space.set(key, value.clone())
        };
        space.store.set(&request).await.unwrap();
        let found = space.value(key).await.unwrap();
        if backend.respells_json && form == ValueForm::Json {
            let meaning = |text: &Bytes| serde_json::from_slice::<serde_json::Value>(text).unwrap();
            assert_eq!(meaning(&found), meaning(&value), "{key}");
        } else {
            assert_eq!(found, value, "{key}");
        }
    }
}

/// From one byte to some megabytes.
pub async fn large_values(backend: &Backend) {
    let space = Space::open(backend).await;
    for size in [1, 4095, 65_537, 1 << 20, 5_000_000] {
        let value: Bytes = (0..size)
            .map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let before = space.value("k").await;
        let outcome = space.store.set(&space.set("k", value.clone())).await;
        let fits = value.len() <= backend.largest_value;
        assert_eq!(outcome.is_ok(), fits, "{size} bytes: {outcome:?}");
        let expected = if fits { Some(value) } else { before };
        assert!(space.value("k").await == expected, "{size} bytes");
    }
}

/// Any text is a key.
pub async fn keys_of_every_kind(backend: &Backend) {
    let space = Space::open(backend).await;
    let long = "k".repeat(4000);
    let keys = [
        " ",
        "a b",
        "ключ",
        "鍵😀",
        "'; DROP TABLE state; --",
        "\"",
        "\\",
        "%",
        "_",
        "*?[a]",
        "a||b",
        "a/b?c#d",
        "line\nbreak",
        "\u{1}",
        "nul\0inside",
        "{tag}",
        &long,
    ];
    let (held, refused): (Vec<&str>, Vec<&str>) = keys.iter().partition(|key| (backend.holds_key)(&space.key(key)));
    assert!(!held.is_empty());
    for key in refused {
        let set = space.store.set(&space.set(key, "x")).await;
        assert!(matches!(set, Err(StateError::Invalid(_))), "{key:?}: {set:?}");
        let get = space.store.get(&space.get(key)).await;
        assert!(matches!(get, Err(StateError::Invalid(_))), "{key:?}: {get:?}");
    }
    for (number, key) in held.iter().enumerate() {
        space.store.set(&space.set(key, number.to_string())).await.unwrap();
    }
    for (number, key) in held.iter().enumerate() {
        assert_eq!(space.value(key).await.unwrap(), number.to_string(), "{key:?}");
        space.store.delete(&space.delete(key)).await.unwrap();
        assert!(space.value(key).await.is_none(), "{key:?}");
    }
}

/// Neither case nor blanks nor composition of characters make two keys one.
pub async fn keys_differ_in_every_byte(backend: &Backend) {
    let space = Space::open(backend).await;
    let keys = ["k", "K", "k ", " k", "k\0", "é", "e\u{301}"];
    let keys: Vec<&str> = keys
        .into_iter()
        .filter(|key| (backend.holds_key)(&space.key(key)))
        .collect();
    assert!(keys.len() > 3);
    for key in &keys {
        space.store.set(&space.set(key, key.to_string())).await.unwrap();
    }
    for key in keys {
        assert_eq!(space.value(key).await.unwrap(), key, "{key:?}");
    }
}

/// A store that works says so, and every store has what this suite tests.
pub async fn ping_and_features(backend: &Backend) {
    let space = Space::open(backend).await;
    space.store.ping().await.unwrap();
    let has = |feature| space.store.features().has(feature);
    assert!(has(Feature::Ttl));
    for feature in [Feature::Etag, Feature::Transactional] {
        assert_eq!(has(feature), !backend.only_cache, "{feature:?}");
    }
}

/// What was acknowledged is there after a restart, with the same etag.
pub async fn survives_reopening(backend: &Backend) {
    if !backend.durable {
        return;
    }
    let mut space = Space::open(backend).await;
    space.put("k", "kept").await;
    let etag = space.etag("k").await;
    space.store.close().await.unwrap();
    space.store = (backend.open)().await;
    assert_eq!(
        (space.value("k").await.unwrap().as_ref(), space.etag("k").await),
        (&b"kept"[..], etag)
    );
}
