//! Keys on disk, restarts, renewal of issuer and leaves.

use std::time::Duration;

use palladium_tasks::Shutdown;
use time::OffsetDateTime;

use super::zone::{APP, Zone};
use crate::{authority::parse, keep::Keeper};

#[tokio::test]
async fn leaves_renew_themselves_by_their_own_svid_again_and_again() {
    let zone = Zone::start(|config| config.leaf_ttl_seconds = 2).await;
    let identity = zone.obtain(APP).await.unwrap();
    let source = identity.svid().clone();
    let mut seen = source.subscribe();
    let shutdown = Shutdown::new();
    let fresh = tokio::spawn(identity.keep_fresh(shutdown.clone()));
    let first = source.current().unwrap().leaf().not_after;
    for _ in 0..4 {
        tokio::time::timeout(Duration::from_secs(5), seen.changed())
            .await
            .expect("renewed")
            .unwrap();
    }
    assert!(source.current().unwrap().leaf().not_after >= first + 3);
    shutdown.trigger();
    fresh.await.unwrap().expect("stopped in order");
}

#[tokio::test]
async fn without_sentry_an_svid_runs_out_and_says_so() {
    let zone = Zone::start(|config| config.leaf_ttl_seconds = 2).await;
    let identity = zone.obtain(APP).await.unwrap();
    zone.shutdown.trigger();
    let end = identity.svid().current().unwrap().leaf().not_after;
    let ended = tokio::time::timeout(Duration::from_secs(10), identity.keep_fresh(Shutdown::new()))
        .await
        .unwrap();
    let error = ended.unwrap_err();
    assert!(error.wants_attestation(), "{error}");
    assert!(OffsetDateTime::now_utc().unix_timestamp() - end <= 1);
}

#[tokio::test]
async fn the_issuer_is_renewed_before_its_end_and_nobody_notices() {
    let zone = Zone::start(|config| (config.leaf_ttl_seconds, config.issuer_ttl_seconds) = (2, 4)).await;
    let identity = zone.obtain(APP).await.unwrap();
    let source = identity.svid().clone();
    let first = source.current().unwrap().chain()[1].clone();
    let shutdown = Shutdown::new();
    let fresh = tokio::spawn(identity.keep_fresh(shutdown.clone()));
    // Longer than the first issuer lives.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(!fresh.is_finished());
    let now = source.current().unwrap();
    assert_ne!(now.chain()[1], first);
    assert!(now.leaf().not_after >= OffsetDateTime::now_utc().unix_timestamp());
    zone.obtain(APP).await.expect("new callers too, with the same root");
    shutdown.trigger();
    fresh.await.unwrap().unwrap();
}

fn keeper(zone: &Zone) -> Keeper {
    Keeper {
        folder: zone.config.data_folder.clone(),
        kek: palladium_sealing::Kek::open(&zone.config.kek).unwrap(),
        domain: zone.config.trust_domain.clone(),
        issuer_name: "sentry".to_owned(),
        issuer_life: time::Duration::days(7),
        root_life: time::Duration::days(365),
    }
}

#[test]
fn keys_are_wrapped_and_a_root_taken_offline_lets_the_issuer_live_on() {
    let zone = Zone::prepare(|_| {});
    let keeper = keeper(&zone);
    let now = OffsetDateTime::now_utc();
    let made = keeper.open(now).unwrap();
    let clear = made.issuer.key().serialize_der();
    for entry in std::fs::read_dir(&keeper.folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(
            !bytes
                .windows(32)
                .any(|window| window == &clear[clear.len() - 40..][..32])
        );
        assert!(!bytes.windows(11).any(|window| window == b"PRIVATE KEY"));
    }
    let again = keeper.open(now).unwrap();
    assert_eq!((&again.chain, &again.roots), (&made.chain, &made.roots));
    std::fs::rename(keeper.folder.join("root.key"), zone.folder.path().join("root.key")).unwrap();
    // Past half life, when it would be renewed, the old issuer goes on.
    let late = keeper.open(now + time::Duration::days(6)).unwrap();
    assert_eq!(late.chain, made.chain);
    let refused = keeper.renew(now).err().expect("no root key");
    assert!(refused.to_string().contains("bring it back"));
    std::fs::rename(zone.folder.path().join("root.key"), keeper.folder.join("root.key")).unwrap();
    let renewed = keeper.open(now + time::Duration::days(6)).unwrap();
    assert_ne!(renewed.chain, made.chain);
    assert_eq!(renewed.roots, made.roots);
}

#[test]
fn a_crash_between_key_and_certificate_is_repaired_at_the_next_start() {
    let zone = Zone::prepare(|_| {});
    let keeper = keeper(&zone);
    let now = OffsetDateTime::now_utc();
    let first = keeper.open(now).unwrap();
    let old = std::fs::read(keeper.folder.join("issuer.crt")).unwrap();
    keeper.renew(now).unwrap();
    std::fs::write(keeper.folder.join("issuer.crt"), old).unwrap();
    let repaired = keeper.open(now).unwrap();
    assert_eq!(repaired.roots, first.roots);
    assert_ne!(repaired.chain, first.chain);
    // A root key without its certificate, and nothing behind it, has never been trusted by anybody.
    for file in ["ca.crt", "issuer.crt", "issuer.key"] {
        std::fs::remove_file(keeper.folder.join(file)).unwrap();
    }
    let other = keeper.open(now).unwrap();
    assert_ne!(other.roots, first.roots);
    assert!(parse(&other.roots[0]).unwrap().is_ca());
}

#[test]
fn a_root_that_is_gone_damaged_or_replaced_is_refused_and_nothing_is_written() {
    let (zone, other) = (Zone::prepare(|_| {}), Zone::prepare(|_| {}));
    let (keeper, stranger) = (keeper(&zone), keeper(&other));
    let now = OffsetDateTime::now_utc();
    let domains = ["example.org".to_owned()];
    for keeper in [&keeper, &stranger] {
        keeper.open(now).unwrap();
        keeper.open_edge(&domains, now).unwrap();
    }
    let contents = || -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let entries = std::fs::read_dir(&keeper.folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let mut all: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        all.sort();
        all
    };
    let foreign = |name: &str| Some(std::fs::read(stranger.folder.join(name)).unwrap());
    let good = contents();
    for (file, content, word) in [
        ("ca.crt", None, "ca.crt is gone"),
        ("ca.crt", Some(Vec::new()), "holds no certificate"),
        ("ca.crt", foreign("ca.crt"), "do not belong together"),
        ("issuer.crt", foreign("issuer.crt"), "do not belong together"),
        ("root.key", foreign("root.key"), ""),
        ("root.key", Some(b"damaged".to_vec()), ""),
        ("edge-ca.key", None, "edge-ca.key is gone"),
        ("edge-ca.key", foreign("edge-ca.key"), ""),
        ("edge-ca.crt", foreign("edge-ca.crt"), "do not belong together"),
        ("edge-ca.crt", Some(Vec::new()), "holds no certificate"),
    ] {
        let path = keeper.folder.join(file);
        match &content {
            Some(content) => palladium_os::files::write_private(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let before = contents();
        let opened = keeper.open(now).and_then(|_| keeper.open_edge(&domains, now));
        let error = opened.err().unwrap_or_else(|| panic!("{file} {word}")).to_string();
        assert!(error.contains(word), "{file}: {error}");
        assert_eq!(contents(), before, "{file}");
        palladium_os::files::write_private(&path, &good.iter().find(|(of, _)| *of == path).unwrap().1).unwrap();
        keeper.open(now).unwrap();
    }
    assert_eq!(contents(), good);
}
