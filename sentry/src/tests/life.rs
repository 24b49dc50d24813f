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
    // A root key without its certificate has never been trusted by anybody.
    std::fs::remove_file(keeper.folder.join("ca.crt")).unwrap();
    let other = keeper.open(now).unwrap();
    assert_ne!(other.roots, first.roots);
    assert!(parse(&other.roots[0]).unwrap().is_ca());
}
