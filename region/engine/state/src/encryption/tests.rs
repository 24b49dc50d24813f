//! Keys, their names, rotation, and what does not open.

use palladium_component::Properties;
use proptest::prelude::*;

use super::*;

const ONE: &str = "000102030405060708090a0b0c0d0e0f";
const TWO: &str = "101112131415161718191A1B1C1D1E1F2021222324252627";
const THREE: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";

/// Key and stored value.
const FROM_GO: [(&str, &str); 3] = [
    (ONE, "AAECAwQFBgcICQoL5Q3LuwMq90P3NKPcwPMMPZ7O4HShuw==||key"),
    (TWO, "AAECAwQFBgcICQoLXQ2xvW5oXjlMQbKrh5/yLKeMxFM4Zw==||key"),
    (THREE, "AAECAwQFBgcICQoLKjMx0i8E27FNv7Y9KMwUvpeXgFNgaQ==||key"),
];

/// Keys with the names of the secrets that they came from.
fn with(keys: &[(&str, &str, &str)]) -> Encryption {
    let mut properties = Properties::new();
    for (field, key, secret) in keys {
        properties.insert_resolved(*field, *key, *secret);
    }
    Encryption::from_metadata(&properties, "mystore").unwrap().unwrap()
}

fn request(value: &str, form: ValueForm) -> SetRequest {
    SetRequest {
        value: value.to_string().into(),
        form,
        ..SetRequest::default()
    }
}

fn closed(encryption: &Encryption, value: &str, form: ValueForm) -> Bytes {
    let mut request = request(value, form);
    encryption.close(&mut request).unwrap();
    assert_eq!(request.form, ValueForm::Binary);
    request.value
}

#[test]
fn stored_is_daprs_form() {
    let encryption = with(&[(PRIMARY, ONE, "key-1")]);
    let stored = closed(&encryption, "hello", ValueForm::Binary);
    let text = std::str::from_utf8(&stored).unwrap();
    let sealed = STANDARD.decode(text.strip_suffix("||key-1").unwrap()).unwrap();
    assert_eq!(sealed.len(), 12 + 5 + 16, "nonce, ciphertext, tag");
    assert!(!sealed.windows(5).any(|five| five == b"hello"));
    assert_eq!(encryption.open(&stored).unwrap(), "hello");
    // Never the same twice.
    assert_ne!(closed(&encryption, "hello", ValueForm::Binary), stored);
}

/// Made by Go's crypto/aes and crypto/cipher: AES-GCM of "value1", with the nonce 0, 1, … 11.
#[test]
fn what_dapr_wrote_opens() {
    for (key, stored) in FROM_GO {
        let encryption = with(&[(PRIMARY, key, "key")]);
        assert_eq!(
            encryption.open(&Bytes::from_static(stored.as_bytes())).unwrap(),
            "value1"
        );
    }
}

#[test]
fn of_a_json_text_the_characters_are_kept() {
    let encryption = with(&[(PRIMARY, THREE, "k")]);
    for (json, expected) in [
        (r#""value1""#, "value1"),
        (r#""a\"b\u00e9""#, "a\"bé"),
        (r#"{"a":[1,2.50]}"#, r#"{"a":[1,2.50]}"#),
        ("12345678901234567890", "12345678901234567890"),
        ("true", "true"),
        ("null", "null"),
    ] {
        assert_eq!(
            encryption.open(&closed(&encryption, json, ValueForm::Json)).unwrap(),
            expected
        );
    }
    // What only looks like JSON is bytes.
    assert_eq!(
        encryption
            .open(&closed(&encryption, "\"x\"", ValueForm::Binary))
            .unwrap(),
        "\"x\""
    );
    assert_eq!(
        encryption.open(&closed(&encryption, "", ValueForm::Binary)).unwrap(),
        ""
    );
    assert_eq!(encryption.open(&Bytes::new()).unwrap(), "");
}

#[test]
fn rotation_keeps_what_was_written_readable() {
    let before = with(&[(PRIMARY, ONE, "key-1")]);
    let old = closed(&before, "old", ValueForm::Binary);
    let rotated = with(&[(PRIMARY, TWO, "key-2"), (SECONDARY, ONE, "key-1")]);
    assert_eq!(rotated.open(&old).unwrap(), "old");
    let new = closed(&rotated, "new", ValueForm::Binary);
    assert!(new.ends_with(b"||key-2"));
    let after = with(&[(PRIMARY, TWO, "key-2")]);
    assert_eq!(after.open(&new).unwrap(), "new");
    for (encryption, stored) in [(&before, &new), (&after, &old)] {
        let error = encryption.open(stored).unwrap_err().to_string();
        assert!(error.contains("mystore") && error.contains("does not have"), "{error}");
    }
}

#[test]
fn keys_without_a_secrets_name_keep_theirs_when_they_rotate() {
    let plain = |pairs: &[(&str, &str)]| {
        Encryption::from_metadata(&pairs.iter().copied().collect(), "mystore")
            .unwrap()
            .unwrap()
    };
    let stored = closed(&plain(&[(PRIMARY, TWO)]), "old", ValueForm::Binary);
    assert!(
        !String::from_utf8_lossy(&stored).contains(&TWO[..8]),
        "a name says nothing of its key"
    );
    let rotated = plain(&[(PRIMARY, THREE), (SECONDARY, TWO)]);
    assert_eq!(rotated.open(&stored).unwrap(), "old");
}

#[test]
fn two_values_of_one_secret_are_both_tried() {
    let before = with(&[(PRIMARY, ONE, "keys")]);
    let rotated = with(&[(PRIMARY, THREE, "keys"), (SECONDARY, ONE, "keys")]);
    assert_eq!(rotated.open(&closed(&before, "old", ValueForm::Binary)).unwrap(), "old");
}

#[test]
fn what_does_not_open_is_an_error_without_the_value() {
    let encryption = with(&[(PRIMARY, ONE, "key")]);
    let wrong_key = with(&[(PRIMARY, TWO, "key")]);
    let stored = closed(&encryption, "secret", ValueForm::Binary);
    let mut changed = stored.to_vec();
    changed[20] = if changed[20] == b'A' { b'B' } else { b'A' };
    for (encryption, stored, reason) in [
        (&wrong_key, stored.clone(), "authentication"),
        (&encryption, changed.into(), "authentication"),
        (&encryption, Bytes::from_static(b"plain text"), "key name not found"),
        (&encryption, Bytes::from_static(b"plain||"), "key name not found"),
        (&encryption, Bytes::from_static(b"plai||key"), "authentication"),
        (&encryption, Bytes::from_static(b"pl?in||key"), "Base64"),
        (&encryption, Bytes::from_static(b"||key"), "authentication"),
        (&encryption, Bytes::from_static(b"AAAA||other"), "does not have"),
    ] {
        let error = encryption.open(&stored).unwrap_err().to_string();
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(!error.contains("secret") && !error.contains("plain"), "{error}");
    }
}

#[test]
fn bad_keys_are_named_and_not_quoted() {
    for (pairs, field) in [
        (&[(PRIMARY, "")][..], PRIMARY),
        (&[(PRIMARY, "0123456789")][..], PRIMARY),
        (&[(PRIMARY, "0123456789abcdefghijklmnopqrstuv")][..], PRIMARY),
        (&[(PRIMARY, "00112233445566778899aabbccddeef")][..], PRIMARY),
        (&[(PRIMARY, ONE), (SECONDARY, "short")][..], SECONDARY),
        (&[(SECONDARY, ONE)][..], SECONDARY),
    ] {
        let error = Encryption::from_metadata(&pairs.iter().copied().collect(), "s")
            .err()
            .unwrap();
        assert_eq!(error.field, field, "{pairs:?}");
        assert!(!error.to_string().contains("0123456789"), "{error}");
    }
    assert!(Encryption::from_metadata(&Properties::new(), "s").unwrap().is_none());
}

proptest! {
    #[test]
    fn every_value_comes_back_and_nothing_panics(value in prop::collection::vec(any::<u8>(), 0..200), name in "[^\0]{1,20}") {
        let encryption = with(&[(PRIMARY, ONE, &name)]);
        let mut request = SetRequest { value: value.clone().into(), ..SetRequest::default() };
        encryption.close(&mut request).unwrap();
        // A name with the separator in it cannot be found again, in Dapr neither.
        if !name.contains('|') {
            prop_assert_eq!(encryption.open(&request.value).unwrap(), value.clone());
        }
        let _ = encryption.open(&value.into());
    }
}
