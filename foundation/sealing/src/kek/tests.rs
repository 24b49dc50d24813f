//! The key-encryption key and what it wraps.

use super::*;
use secrecy::ExposeSecret;

fn file_kek(folder: &Path) -> Kek {
    Kek::open(&KekConfig::KeyFile {
        path: folder.join("kek"),
    })
    .unwrap()
}

#[test]
fn wraps_for_one_purpose_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let blob = file_kek(folder.path())
        .wrap("sentry/issuer.key", b"key material")
        .unwrap();
    assert!(!blob.windows(12).any(|window| window == b"key material"));
    let kek = file_kek(folder.path());
    assert_eq!(
        kek.unwrap("sentry/issuer.key", &blob).unwrap().expose_secret(),
        b"key material"
    );
    assert!(matches!(kek.unwrap("agent/hpke", &blob), Err(Error::Open)));
    for position in 0..blob.len() {
        let mut changed = blob.clone();
        changed[position] ^= 1;
        assert!(kek.unwrap("sentry/issuer.key", &changed).is_err(), "byte {position}");
        assert!(kek.unwrap("sentry/issuer.key", &blob[..position]).is_err());
    }
    assert!(!kek.status().protects_a_copied_disk);
}

#[test]
fn another_key_is_named_not_guessed() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let blob = file_kek(one.path()).wrap("p", b"x").unwrap();
    assert!(matches!(
        file_kek(two.path()).unwrap("p", &blob),
        Err(Error::OtherKek { .. })
    ));
}

#[test]
fn passphrase_gives_the_same_key_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, salt_file) = (folder.path().join("pass"), folder.path().join("salt"));
    std::fs::write(&path, "correct horse battery staple\n").unwrap();
    let config = KekConfig::Passphrase {
        path: path.clone(),
        salt_file,
    };
    let blob = Kek::open(&config).unwrap().wrap("p", b"x").unwrap();
    let again = Kek::open(&config).unwrap();
    assert_eq!(again.unwrap("p", &blob).unwrap().expose_secret(), b"x");
    assert!(again.status().protects_a_copied_disk);
    std::fs::write(&path, "wrong\n").unwrap();
    assert!(Kek::open(&config).unwrap().unwrap("p", &blob).is_err());
    std::fs::write(&path, "\n").unwrap();
    assert!(Kek::open(&config).is_err());
}

#[test]
fn stored_keys_are_stable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.key");
    let one = file_kek(folder.path()).stored_key("audit", &path).unwrap();
    assert_eq!(*one, *file_kek(folder.path()).stored_key("audit", &path).unwrap());
}

#[test]
fn first_starts_at_once_end_with_one_key() {
    for round in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let salt_file = folder.path().join("salt");
        let open = || {
            let kek = file_kek(folder.path());
            let stored = kek.stored_key("audit", &folder.path().join("audit.key")).unwrap();
            (kek.id, *stored, salt(&salt_file).unwrap())
        };
        let together = std::sync::Barrier::new(4);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let start = || {
                together.wait();
                open()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(opened.iter().all(|one| *one == opened[0]), "round {round}");
        assert_eq!(opened[0], open());
    }
}
