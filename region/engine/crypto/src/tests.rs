//! The scheme there and back, in pieces of any size, and everything that must not be accepted.
//!
//! One idea: an attacker has the document and may change, cut, join and reorder it. Must never trust a key that was not
//! wrapped for the document.

use bytes::BytesMut;
use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretSlice};

use super::*;

const ALGORITHM: Algorithm = Algorithm::A256Kw;

/// A document and its key. The "wrapping" of these tests is to turn every bit.
fn encrypt(plain: &[u8], cipher: Cipher, step: usize) -> Vec<u8> {
    let key = FileKey::generate().unwrap();
    let mut encryptor = Encryptor::new(&key, "k", ALGORITHM, cipher, turn(key.secret().expose_secret())).unwrap();
    let mut out = BytesMut::new();
    for piece in plain.chunks(step) {
        encryptor.push(piece, &mut out).unwrap();
    }
    encryptor.finish(&mut out).unwrap();
    out.to_vec()
}

fn turn(key: &[u8]) -> Vec<u8> {
    key.iter().map(|byte| !byte).collect()
}

fn decrypt(document: &[u8], step: usize) -> Result<Vec<u8>, CryptoError> {
    let (mut reader, mut decryptor, mut out) = (HeaderReader::default(), None, BytesMut::new());
    for piece in document.chunks(step) {
        match &mut decryptor {
            None => {
                if let Some(header) = reader.push(piece)? {
                    assert_eq!(header.algorithm(), ALGORITHM);
                    header.key_name("")?;
                    let key: SecretSlice<u8> = turn(header.wrapped()).into();
                    let (mut opened, rest) = header.open(Some(key))?;
                    opened.push(&rest, &mut out)?;
                    decryptor = Some(opened);
                }
            }
            Some(decryptor) => decryptor.push(piece, &mut out)?,
        }
    }
    decryptor.ok_or_else(|| reader.unfinished())?.finish(&mut out)?;
    Ok(out.to_vec())
}

fn sample(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// Where the segments of a document begin.
fn body(document: &[u8]) -> usize {
    let mut ends = document.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.nth(2).unwrap().0 + 1
}

#[test]
fn lengths_around_a_segment_with_both_ciphers() {
    for cipher in [Cipher::AesGcm, Cipher::ChaCha20Poly1305] {
        for length in [
            0,
            1,
            15,
            SEGMENT - 1,
            SEGMENT,
            SEGMENT + 1,
            2 * SEGMENT,
            3 * SEGMENT + 5,
        ] {
            let plain = sample(length);
            let document = encrypt(&plain, cipher, 10_000);
            let segments = length.div_ceil(SEGMENT);
            assert_eq!(
                document.len() - body(&document),
                length + segments * OVERHEAD,
                "{length}"
            );
            assert!(decrypt(&document, 4096).unwrap() == plain, "{length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn pieces_of_any_size(length in 0..150_000_usize, there in 1..100_000_usize, back in 1..100_000_usize) {
        let plain = sample(length);
        let document = encrypt(&plain, Cipher::AesGcm, there);
        prop_assert!(decrypt(&document, back).unwrap() == plain);
    }

    /// Every byte of a document matters.
    #[test]
    fn sec_105_a_changed_byte_is_noticed(at in 0..1_000_000_usize, bit in 0..8_u8) {
        let mut document = encrypt(&sample(SEGMENT + 10), Cipher::AesGcm, SEGMENT);
        let at = at % document.len();
        document[at] ^= 1 << bit;
        prop_assert!(decrypt(&document, 8192).is_err(), "{}", at);
    }

    #[test]
    fn nonsense_is_refused(document in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(decrypt(&document, 100).is_err());
        let behind = [SCHEME.as_bytes(), b"\n", &document].concat();
        prop_assert!(decrypt(&behind, 100).is_err());
    }
}

#[test]
fn segments_cannot_be_cut_moved_or_added() {
    let document = encrypt(&sample(3 * SEGMENT), Cipher::AesGcm, SEGMENT);
    let start = body(&document);
    let (head, segments) = document.split_at(start);
    let segment = |number: usize| &segments[number * (SEGMENT + OVERHEAD)..(number + 1) * (SEGMENT + OVERHEAD)];
    let put = |order: &[usize]| {
        let parts: Vec<u8> = order.iter().flat_map(|number| segment(*number).to_vec()).collect();
        decrypt(&[head, &parts].concat(), 10_000)
    };
    assert!(put(&[0, 1, 2]).is_ok());
    for order in [&[0, 1][..], &[0], &[1, 0, 2], &[0, 1, 2, 2], &[0, 0, 1, 2], &[2]] {
        assert!(put(order).is_err(), "{order:?}");
    }
    let other = encrypt(&sample(3 * SEGMENT), Cipher::AesGcm, SEGMENT);
    assert!(
        decrypt(&[head, &other[body(&other)..]].concat(), 10_000).is_err(),
        "another document's segments"
    );
    assert!(
        decrypt(&document[..document.len() - 1], 10_000).is_err(),
        "cut by a byte"
    );
}

#[test]
fn nothing_comes_out_before_the_signature_is_checked() {
    let document = encrypt(b"secret", Cipher::AesGcm, 10);
    let header = || HeaderReader::default().push(&document).unwrap().unwrap();
    for key in [None, Some(vec![1; 32]), Some(vec![1; 31]), Some(Vec::new())] {
        let refused = header().open(key.map(Into::into)).map(|_| ());
        let error = refused.unwrap_err();
        assert_eq!(
            error,
            CryptoError::Failed("failed to validate the document's signature".into()),
            "all alike"
        );
    }
}

#[test]
fn headers_that_are_none() {
    let failed = |document: &[u8]| decrypt(document, 1 << 20).unwrap_err().to_string();
    let told = |reason: &str| format!("failed to perform operation: invalid header: {reason}");
    for (document, reason) in [
        ("", "scheme name not found"),
        ("dapr.io/enc/v1", "scheme name not found"),
        ("dapr.io/enc/v2\n", "unsupported scheme"),
        ("\n", "invalid format"),
        ("dapr.io/enc/v1\n\n", "invalid format"),
        ("dapr.io/enc/v1\n{}", "manifest not found"),
        ("dapr.io/enc/v1\n{}\nx", "message authentication code not found"),
        ("dapr.io/enc/v1\n{}\nx\n", "invalid manifest"),
    ] {
        assert_eq!(failed(document.as_bytes()), told(reason), "{document:?}");
    }
    let endless = [SCHEME.as_bytes(), b"\n", &vec![b'a'; SEGMENT]].concat();
    assert_eq!(failed(&endless), told("manifest not found"));
}

#[test]
fn names_of_algorithms_and_ciphers() {
    assert_eq!(Algorithm::named("rsa"), Ok(Algorithm::RsaOaep256));
    assert_eq!(Algorithm::named("AES").unwrap().name(), "A256KW");
    assert_eq!(Algorithm::named("a192cbc-nopad").unwrap().name(), "A192CBC-NOPAD");
    let unknown = "option Algorithm is not valid: algorithm A128KW is not supported";
    assert_eq!(Algorithm::named("a128kw"), Err(unknown.into()));
    assert_eq!(Cipher::named("chacha20-poly1305"), Ok(Cipher::ChaCha20Poly1305));
    assert_eq!(Cipher::named(""), Ok(Cipher::AesGcm));
    assert_eq!(
        Cipher::named("des"),
        Err("option Cipher is not valid: cipher DES is not supported".into())
    );
}

#[test]
fn the_key_is_the_callers_word_or_the_documents() {
    let with = |name: &str| {
        let key = FileKey::generate().unwrap();
        let mut out = BytesMut::new();
        let encryptor = Encryptor::new(&key, name, ALGORITHM, Cipher::AesGcm, vec![1]).unwrap();
        encryptor.finish(&mut out).unwrap();
        HeaderReader::default().push(&out).unwrap().unwrap()
    };
    assert_eq!(with("mine").key_name(""), Ok("mine"));
    assert_eq!(with("mine").key_name("yours"), Ok("yours"));
    assert!(with("").key_name("").is_err());
    let key = FileKey::generate().unwrap();
    assert!(Encryptor::new(&key, &"n".repeat(SEGMENT), ALGORITHM, Cipher::AesGcm, vec![1]).is_err());
}
