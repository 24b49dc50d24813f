//! Proof that a sealed value opens only at its own place, and that the provider computes what RFC 9180 prescribes.

use proptest::prelude::*;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_128;
use secrecy::ExposeSecret;

use super::*;

const PLACE: SealedField<'static> = SealedField {
    region: "reg-aaaaaaaaaaaa",
    project: "prj-bbbbbbbbbbbb",
    uid: "0192",
    field: "spec.metadata.redisPassword",
    version: 3,
};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

/// RFC 9180, appendix A.1.1 (base mode, X25519, HKDF-SHA256), first encryption. The appendix prints no vector with
/// AES-256-GCM for X25519; key agreement and key schedule are the same code for both.
#[test]
fn rfc_9180_base_mode_vector_opens() {
    let plaintext = DH_KEM_X25519_HKDF_SHA256_AES_128
        .open(
            &EncapsulatedSecret(hex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")),
            &hex("4f6465206f6e2061204772656369616e2055726e"),
            &hex("436f756e742d30"),
            &hex("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"),
            &HpkePrivateKey::from(hex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")),
        )
        .unwrap();
    assert_eq!(
        plaintext,
        hex("4265617574792069732074727574682c20747275746820626561757479")
    );
}

#[test]
fn opens_at_its_own_place_only() {
    let key = HpkeKeyPair::generate().unwrap();
    let sealed = key.public().seal(&PLACE, b"hunter2").unwrap();
    assert_eq!(key.open(&PLACE, &sealed).unwrap().expose_secret(), b"hunter2");

    let elsewhere = [
        SealedField {
            region: "reg-other",
            ..PLACE
        },
        SealedField {
            project: "prj-other",
            ..PLACE
        },
        SealedField { uid: "0193", ..PLACE },
        SealedField {
            field: "spec.metadata.redisHost",
            ..PLACE
        },
        SealedField { version: 4, ..PLACE },
    ];
    for place in elsewhere {
        assert!(matches!(key.open(&place, &sealed), Err(Error::Open)), "{place:?}");
    }
    let other = HpkeKeyPair::generate().unwrap();
    assert!(other.open(&PLACE, &sealed).is_err());
}

#[test]
fn survives_storage_and_json() {
    let key = HpkeKeyPair::generate().unwrap();
    let again = HpkeKeyPair::from_bytes(key.to_bytes().expose_secret()).unwrap();
    let sealed = again.public().seal(&PLACE, b"").unwrap();
    let json = serde_json::to_string(&sealed).unwrap();
    assert!(json.contains("\"keyId\""));
    let sealed: SealedValue = serde_json::from_str(&json).unwrap();
    assert!(key.open(&PLACE, &sealed).unwrap().expose_secret().is_empty());
    assert!(HpkeKeyPair::from_bytes(&[0; 63]).is_err());
    assert!(HpkePublicKey::from_bytes(&[0; 31]).is_err());
}

#[test]
fn never_printed() {
    let key = HpkeKeyPair::generate().unwrap();
    assert_eq!(format!("{key:?}"), format!("HpkeKeyPair({})", key.public().key_id()));
}

proptest! {
    /// Two different places never have the same associated data, wherever the separators fall.
    #[test]
    fn places_are_encoded_unambiguously(a in "[a|]{0,4}", b in "[a|]{0,4}", c in "[a|]{0,4}", d in "[a|]{0,4}") {
        let one = SealedField { region: &a, project: &b, uid: "u", field: "f", version: 1 };
        let two = SealedField { region: &c, project: &d, uid: "u", field: "f", version: 1 };
        prop_assert_eq!(one == two, one.associated_data() == two.associated_data());
    }

    /// Any changed byte is refused, and no ciphertext makes the opener panic.
    #[test]
    fn changed_bytes_do_not_open(position in 0usize..60, flip in 1u8..=255, garbage in proptest::collection::vec(any::<u8>(), 0..80)) {
        let key = HpkeKeyPair::generate().unwrap();
        let mut sealed = key.public().seal(&PLACE, b"0123456789ab").unwrap();
        let mut bytes = STANDARD.decode(&sealed.ciphertext).unwrap();
        prop_assert_eq!(bytes.len(), 60);
        bytes[position] ^= flip;
        // X25519 ignores the top bit of the encapsulated key by definition, but the key schedule binds all its bytes.
        sealed.ciphertext = STANDARD.encode(&bytes);
        prop_assert!(key.open(&PLACE, &sealed).is_err());
        sealed.ciphertext = STANDARD.encode(&garbage);
        prop_assert!(key.open(&PLACE, &sealed).is_err());
    }
}
