//! Rotation, revocation, restarts, and specs that are older than what is known.

use std::sync::Arc;

use palladium_sealing::{Kek, KekConfig};

use super::*;

fn tokens(folder: &std::path::Path) -> Tokens {
    let kek = Kek::open(&KekConfig::KeyFile {
        path: folder.join("kek"),
    })
    .unwrap();
    let vault = Vault::open(Arc::new(kek), &folder.join("tokens"), "tokens").unwrap();
    Tokens::open(vault, folder.join("token-uses.json"), 10).unwrap()
}

#[test]
fn sec_050_rotation_overlaps_then_ends_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = tokens(folder.path());
    assert!(store.ensure("u", 0, 0, 1_000).unwrap().minted);
    assert!(
        store.ensure("u", 0, 0, 2_000).unwrap().is_none(),
        "asking twice changes nothing"
    );
    let first = store.current("u").unwrap();
    assert!(store.ensure("u", 1, 0, 3_000).unwrap().minted);
    assert_ne!(first.expose_secret(), store.current("u").unwrap().expose_secret());
    let ends: Vec<i64> = store
        .digests("u")
        .iter()
        .map(|digest| digest.not_after_unix_s)
        .collect();
    assert_eq!(ends, [13, 0]);

    let store = tokens(folder.path());
    assert_eq!((store.digests("u").len(), store.next_end()), (2, Some(13_000)));
    assert_eq!(
        store.ensure("u", 1, 0, 13_000).unwrap(),
        Change {
            expired: 1,
            ..Change::default()
        }
    );
    assert_eq!(store.digests("u").len(), 1);
}

#[test]
fn sec_051_revocation_is_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = tokens(folder.path());
    store.ensure("u", 0, 0, 1_000).unwrap();
    let old = store.digests("u");
    assert_eq!(
        store.ensure("u", 1, 1, 2_000).unwrap(),
        Change {
            minted: true,
            revoked: 1,
            expired: 0
        }
    );
    assert!(store.digests("u").iter().all(|digest| !old.contains(digest)));
}

#[test]
fn sec_051_an_older_spec_neither_rotates_nor_brings_a_revoked_token_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = tokens(folder.path());
    store.ensure("u", 3, 2, 1_000).unwrap();
    let current = store.current("u").unwrap();
    for store in [store, tokens(folder.path())] {
        assert!(store.ensure("u", 1, 0, 2_000).unwrap().is_none());
        assert_eq!(store.current("u").unwrap().expose_secret(), current.expose_secret());
        assert_eq!(store.digests("u").len(), 1, "no overlap");
    }
    let store = tokens(folder.path());
    store.ensure("u", 3, 3, 3_000).unwrap();
    let store = tokens(folder.path());
    store.ensure("u", 4, 0, 4_000).unwrap();
    store.ensure("u", 4, 4, 5_000).unwrap();
    assert_eq!(store.digests("u").len(), 1);
    // A minimum above the revision asks for a new token as well.
    store.ensure("u", 4, 9, 6_000).unwrap();
    assert!(store.ensure("u", 4, 9, 7_000).unwrap().is_none());
}

#[test]
fn nothing_on_disk_holds_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let store = tokens(folder.path());
    store.ensure("u", 0, 0, 1_000).unwrap();
    let token = store.current("u").unwrap();
    let file = std::fs::read(folder.path().join("tokens/u")).unwrap();
    let secret = token.expose_secret().as_bytes();
    assert!(
        !file
            .windows(16)
            .any(|window| secret.windows(16).any(|part| part == window))
    );
}

#[test]
fn sec_050_the_last_use_of_each_token_is_shown_in_steps_and_survives_a_restart() {
    const NOON: i64 = 1_764_000_000;
    let folder = tempfile::tempdir().unwrap();
    let store = tokens(folder.path());
    store.ensure("u", 0, 0, NOON * 1000).unwrap();
    store.ensure("u", 1, 0, NOON * 1000 + 1).unwrap();
    let digests: Vec<_> = store.digests("u").into_iter().map(|one| one.sha256).collect();
    let shown = |store: &Tokens, now: i64| -> Vec<Option<i64>> {
        let tokens = store.status("u", now * 1000);
        tokens
            .iter()
            .map(|one| one.last_used_at.map(|at| at.unix_millis() / 1000))
            .collect()
    };
    let seen = |index: usize, at: i64, now: i64| {
        let sha256 = digests[index].clone();
        let one = TokenUse {
            sha256,
            last_used_unix_s: at,
            foreign_host_calls: 0,
        };
        store.seen(&[one], now * 1000).unwrap().news
    };
    assert_eq!(shown(&store, NOON), [None, None]);
    assert!(seen(0, NOON, NOON));
    assert_eq!(shown(&store, NOON), [Some(NOON), None]);
    assert!(!seen(0, NOON + 60, NOON + 61), "a minute later is no news");
    assert_eq!(shown(&store, NOON + 61)[0], Some(NOON));
    assert_eq!(
        shown(&store, NOON + 400)[0],
        Some(NOON + 60),
        "the end is told when the calls have ended"
    );
    assert!(seen(0, NOON + 600, NOON + 600) && seen(1, NOON + 900, NOON + 610));
    let both = [Some(NOON + 600), Some(NOON + 610)];
    assert_eq!(shown(&store, NOON + 610), both, "no gateway knows the future");
    assert!(!seen(0, NOON, NOON + 620), "nothing goes back");
    assert_eq!(shown(&tokens(folder.path()), NOON + 620), both);
    let unknown = TokenUse {
        sha256: vec![7; 32].into(),
        last_used_unix_s: NOON,
        foreign_host_calls: 3,
    };
    assert_eq!(store.seen(&[unknown], NOON * 1000).unwrap(), Seen::default());
}
