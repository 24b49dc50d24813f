//! The scheme beside Dapr's own daprd: what one encrypts the other decrypts, with the same keys. Needs Dapr's `daprd`:
//! `PALLADIUM_PEERS` names the folder that `./dev peers` prints.
//!
//! One idea: every algorithm, cipher and length around a segment goes both ways. Must never pass without the original.

// This is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::BytesMut;
use palladium_component::{CryptoProvider, OpenContext};
use palladium_conformance::crypto_drivers::DRIVERS;
use palladium_conformance::crypto_keys::Keys;
use palladium_engine_crypto::{Algorithm, Cipher, CryptoError, Encryptor, FileKey, HeaderReader, SEGMENT};
use palladium_peers::daprd::Daprd;
use tempfile::TempDir;

const LENGTHS: [usize; 6] = [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 5 * SEGMENT + 7];

struct Both {
    theirs: Daprd,
    ours: Arc<dyn CryptoProvider>,
    _folder: TempDir,
}

impl Both {
    /// Theirs has the keys in a folder, the one way that the original is built with.
    async fn start(keys: &Keys, type_name: &str) -> Self {
        let folder = keys.folder();
        let path = [("path".to_owned(), folder.path().display().to_string())];
        let set = [("jwks".to_owned(), keys.set())];
        let metadata = if type_name == "crypto.dapr.jwks" { &set } else { &path };
        let context = OpenContext::new("store", "orders", metadata.iter().cloned().collect());
        let (theirs, ours) = tokio::join!(
            Daprd::start("crypto.dapr.localstorage", "v1", &path, &[]),
            DRIVERS.open(type_name, "v1", context)
        );
        Both {
            theirs,
            ours: ours.unwrap(),
            _folder: folder,
        }
    }

    async fn they_encrypt(&self, plain: &[u8], key: &str, algorithm: &str, cipher: &str) -> Vec<u8> {
        let headers = [
            ("dapr-key-name", key),
            ("dapr-key-wrap-algorithm", algorithm),
            ("dapr-data-encryption-cipher", cipher),
        ];
        let path = "/v1.0-alpha1/crypto/store/encrypt";
        let (status, document) = self.theirs.api.exchange("PUT", path, &headers, plain).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&document));
        document
    }

    async fn they_decrypt(&self, document: &[u8]) -> (u16, Vec<u8>) {
        let path = "/v1.0-alpha1/crypto/store/decrypt";
        self.theirs.api.exchange("PUT", path, &[], document).await
    }

    async fn we_encrypt(&self, plain: &[u8], key: &str, algorithm: &str, cipher: &str) -> Vec<u8> {
        let (algorithm, cipher) = (Algorithm::named(algorithm).unwrap(), Cipher::named(cipher).unwrap());
        let file_key = FileKey::generate().unwrap();
        let wrapped = self
            .ours
            .wrap_key(file_key.secret(), algorithm.name(), key)
            .await
            .unwrap();
        let mut encryptor = Encryptor::new(&file_key, key, algorithm, cipher, wrapped).unwrap();
        let mut out = BytesMut::new();
        encryptor.push(plain, &mut out).unwrap();
        encryptor.finish(&mut out).unwrap();
        out.to_vec()
    }

    async fn we_decrypt(&self, document: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let header = HeaderReader::default().push(document)?.expect("a whole header");
        let name = header.key_name("")?.to_owned();
        let key = self
            .ours
            .unwrap_key(header.wrapped(), header.algorithm().name(), &name)
            .await;
        let (mut decryptor, rest) = header.open(key.ok())?;
        let mut out = BytesMut::new();
        decryptor.push(&rest, &mut out)?;
        decryptor.finish(&mut out)?;
        Ok(out.to_vec())
    }

    /// Both ways, and a broken document neither way.
    async fn exchange(&self, key: &str, algorithm: &str, cipher: &str) {
        for length in LENGTHS {
            let plain: Vec<u8> = (0..length).map(|at| (at * 31 + at / 255) as u8).collect();
            let document = self.they_encrypt(&plain, key, algorithm, cipher).await;
            assert!(
                self.we_decrypt(&document).await.unwrap() == plain,
                "theirs: {algorithm} {cipher} {length}"
            );
            let mut document = self.we_encrypt(&plain, key, algorithm, cipher).await;
            let (status, decrypted) = self.they_decrypt(&document).await;
            assert!(
                status == 200 && decrypted == plain,
                "ours: {algorithm} {cipher} {length}: {status}"
            );
            let last = document.len() - 2;
            document[last] ^= 1;
            assert!(self.we_decrypt(&document).await.is_err());
            assert_eq!(self.they_decrypt(&document).await.0, 500);
        }
    }
}

#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn keys_in_a_folder() {
    let both = Both::start(&Keys::new(), "crypto.dapr.localstorage").await;
    for (key, algorithm) in [
        ("symmetric", "A256KW"),
        ("copy.json", "AES"),
        ("rsa.pem", "RSA-OAEP-256"),
    ] {
        for cipher in ["aes-gcm", "chacha20-poly1305"] {
            both.exchange(key, algorithm, cipher).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn keys_in_a_set() {
    let both = Both::start(&Keys::new(), "crypto.dapr.jwks").await;
    both.exchange("symmetric", "a256kw", "").await;
    both.exchange("rsa.pem", "rsa", "").await;
}

/// What neither can do is told in the same words.
#[tokio::test]
#[ignore = "needs Dapr's daprd: PALLADIUM_PEERS"]
async fn refusals_are_told_alike() {
    let both = Both::start(&Keys::new(), "crypto.dapr.localstorage").await;
    for (key, algorithm) in [
        ("rsa.pem", "A256KW"),
        ("symmetric", "RSA-OAEP-256"),
        ("symmetric", "A256CBC-NOPAD"),
    ] {
        let headers = [("dapr-key-name", key), ("dapr-key-wrap-algorithm", algorithm)];
        let path = "/v1.0-alpha1/crypto/store/encrypt";
        let (status, told) = both.theirs.api.exchange("PUT", path, &headers, b"x").await;
        let file_key = FileKey::generate().unwrap();
        let ours = both.ours.wrap_key(file_key.secret(), algorithm, key).await.unwrap_err();
        let told = String::from_utf8(told).unwrap();
        assert!(
            status == 500 && told.contains(&format!("failed to wrap the file key: {ours}\"")),
            "{told} - {ours}"
        );
    }
    for document in [
        &b"nonsense"[..],
        b"dapr.io/enc/v2\n",
        b"dapr.io/enc/v1\n{}\nx\n",
        b"dapr.io/enc/v1\n\n",
        b"",
    ] {
        let (status, told) = both.they_decrypt(document).await;
        let mut reader = HeaderReader::default();
        let error = match reader.push(document) {
            Ok(_) => reader.unfinished(),
            Err(error) => error,
        };
        let told = String::from_utf8(told).unwrap();
        assert!(status == 500 && told.contains(&error.to_string()), "{told} - {error}");
    }
}
