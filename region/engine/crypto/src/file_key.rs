//! A document's own key, and what is derived from it.
//!
//! One idea: one secret makes two keys, one that signs the header and one that encrypts segments, by HKDF with SHA-256. Must
//! never be used for two documents.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::{hmac, rand};
use secrecy::{ExposeSecret as _, SecretSlice};
use zeroize::Zeroizing;

use crate::{Cipher, OVERHEAD};

/// Bytes of a document's key.
const LENGTH: usize = 32;

/// A document's key.
pub struct FileKey {
    secret: SecretSlice<u8>,
    nonce_prefix: [u8; 7],
}

/// No secure random numbers, or a key that cannot be derived: nothing can be encrypted.
const NO_KEY: &str = "failed to generate file key";

impl FileKey {
    /// A new one.
    ///
    /// # Errors
    /// The message for people, when there is no randomness.
    pub fn generate() -> Result<Self, String> {
        let mut secret = Zeroizing::new(vec![0; LENGTH]);
        let mut nonce_prefix = [0; 7];
        rand::fill(&mut secret).map_err(|_| NO_KEY)?;
        rand::fill(&mut nonce_prefix).map_err(|_| NO_KEY)?;
        let secret = std::mem::take(&mut *secret).into();
        Ok(Self { secret, nonce_prefix })
    }

    /// That of a document. One that could not be unwrapped counts as zeros: the header's signature is checked all the same
    /// and fails, so that a missing key and a broken document answer alike.
    pub(crate) fn of_document(unwrapped: Option<SecretSlice<u8>>, nonce_prefix: [u8; 7]) -> Self {
        let secret = unwrapped.filter(|secret| secret.expose_secret().len() == LENGTH);
        Self {
            secret: secret.unwrap_or_else(|| vec![0; LENGTH].into()),
            nonce_prefix,
        }
    }

    /// The key itself, for wrapping.
    pub fn secret(&self) -> &SecretSlice<u8> {
        &self.secret
    }

    pub(crate) fn nonce_prefix(&self) -> [u8; 7] {
        self.nonce_prefix
    }

    /// What signs headers.
    pub(crate) fn header_key(&self) -> Result<hmac::Key, String> {
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &*self.derive(b"header", &[])?))
    }

    /// What encrypts segments.
    pub(crate) fn payload(&self, cipher: Cipher) -> Result<Payload, String> {
        let algorithm = match cipher {
            Cipher::AesGcm => &AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let key = self.derive(b"payload", &self.nonce_prefix)?;
        let key = UnboundKey::new(algorithm, &*key).map_err(|_| NO_KEY)?;
        Ok(Payload {
            key: LessSafeKey::new(key),
            nonce_prefix: self.nonce_prefix,
        })
    }

    fn derive(&self, purpose: &[u8], salt: &[u8]) -> Result<Zeroizing<[u8; LENGTH]>, String> {
        let mut key = Zeroizing::new([0; LENGTH]);
        Salt::new(HKDF_SHA256, salt)
            .extract(self.secret.expose_secret())
            .expand(&[purpose], Bytes)
            .and_then(|derived| derived.fill(&mut *key))
            .map_err(|_| NO_KEY)?;
        Ok(key)
    }
}

/// Length of a derived key.
struct Bytes;

impl KeyType for Bytes {
    fn len(&self) -> usize {
        LENGTH
    }
}

/// Encrypts and decrypts segments in place.
pub(crate) struct Payload {
    key: LessSafeKey,
    nonce_prefix: [u8; 7],
}

impl Payload {
    /// The document's prefix, the segment's number, and whether it is the last.
    fn nonce(&self, number: u32, last: bool) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..7].copy_from_slice(&self.nonce_prefix);
        nonce[7..11].copy_from_slice(&number.to_be_bytes());
        nonce[11] = u8::from(last);
        Nonce::assume_unique_for_key(nonce)
    }

    pub(crate) fn seal(&self, segment: &mut Vec<u8>, number: u32, last: bool) -> Result<(), String> {
        let nonce = self.nonce(number, last);
        let sealed = self.key.seal_in_place_append_tag(nonce, Aad::empty(), segment);
        sealed.map_err(|_| format!("error processing segment {number}: it cannot be encrypted"))
    }

    pub(crate) fn open(&self, segment: &mut Vec<u8>, number: u32, last: bool) -> Result<(), String> {
        let nonce = self.nonce(number, last);
        let length = segment.len().checked_sub(OVERHEAD);
        let opened = self.key.open_in_place(nonce, Aad::empty(), segment).is_ok();
        match length {
            Some(length) if opened => segment.truncate(length),
            _ => return Err(format!("error processing segment {number}: failed to decrypt segment")),
        }
        Ok(())
    }
}
