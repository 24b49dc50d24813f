//! Values sealed to one region: HPKE base mode, X25519-HKDF-SHA256 with AES-256-GCM, from rustls' aws-lc-rs provider.
//!
//! The one idea: a sealed value says in its associated data where it belongs ([`SealedField`]); the region opens it with
//! the place it *expects*, so that ciphertext moved to another region, project, object, field or version is refused.
//! Must never fall back to another suite and never keep plaintext in a printable type.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey as RawPublicKey};
use secrecy::SecretSlice;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::Error;
use crate::digest::sha256;

/// The place a sealed value belongs to. Every part is bound into the ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedField<'a> {
    /// Region id, `reg-…`.
    pub region: &'a str,
    /// Project id, `prj-…`; empty for objects of the organization.
    pub project: &'a str,
    /// Uid of the object that has the field.
    pub uid: &'a str,
    /// Path of the field, such as `spec.metadata.redisPassword`.
    pub field: &'a str,
    /// Grows each time the field is sealed anew.
    pub version: u64,
}

impl SealedField<'_> {
    /// The associated data: each part preceded by its length, so that no two places share an encoding.
    pub fn associated_data(&self) -> Vec<u8> {
        let mut out = b"palladium-sealed-v1\0".to_vec();
        for part in [self.region, self.project, self.uid, self.field] {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(&self.version.to_be_bytes());
        out
    }
}

/// A sealed value as it lies in the control plane's database and travels in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealedValue {
    /// Path of the field in the object.
    pub field: String,
    /// Version of the value.
    pub version: u64,
    /// Which of the region's keys opens it.
    pub key_id: String,
    /// Standard base64 of the 32-byte encapsulated key followed by the ciphertext with its tag.
    pub ciphertext: String,
}

/// The public half of a region's sealing key.
#[derive(Clone, PartialEq, Eq)]
pub struct HpkePublicKey([u8; KEY_LEN]);

impl HpkePublicKey {
    /// From the 32 raw bytes of an X25519 public key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self(bytes.try_into().map_err(|_| Error::Recipient)?))
    }

    /// The 32 raw bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Short name of this key: the first 16 hex digits of its SHA-256.
    pub fn key_id(&self) -> String {
        sha256(&self.0)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Seals `plaintext` for the place `at`.
    pub fn seal(&self, at: &SealedField<'_>, plaintext: &[u8]) -> Result<SealedValue, Error> {
        let recipient = RawPublicKey(self.0.to_vec());
        let (encapsulated, ciphertext) = SUITE
            .seal(INFO, &at.associated_data(), plaintext, &recipient)
            .map_err(|_| Error::Recipient)?;
        let mut bytes = encapsulated.0;
        bytes.extend_from_slice(&ciphertext);
        Ok(SealedValue {
            field: at.field.to_owned(),
            version: at.version,
            key_id: self.key_id(),
            ciphertext: STANDARD.encode(bytes),
        })
    }
}

impl fmt::Debug for HpkePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HpkePublicKey({})", self.key_id())
    }
}

/// A region's sealing key. Lives only in the agent; on disk only wrapped (see [`crate::Kek`]).
pub struct HpkeKeyPair {
    public: HpkePublicKey,
    private: Zeroizing<[u8; KEY_LEN]>,
}

impl HpkeKeyPair {
    /// A fresh key pair.
    pub fn generate() -> Result<Self, Error> {
        let (public, private) = SUITE
            .generate_key_pair()
            .map_err(|_| Error::Crypto("HPKE key generation"))?;
        let mut bytes = Zeroizing::new([0u8; KEY_LEN]);
        let secret = private.secret_bytes();
        if secret.len() != KEY_LEN {
            return Err(Error::Crypto("HPKE key length"));
        }
        bytes.copy_from_slice(secret);
        Ok(Self {
            public: HpkePublicKey::from_bytes(&public.0)?,
            private: bytes,
        })
    }

    /// The public half.
    pub fn public(&self) -> &HpkePublicKey {
        &self.public
    }

    /// Private then public key, 64 bytes, for wrapping by the key-encryption key.
    pub fn to_bytes(&self) -> SecretSlice<u8> {
        // Room for both: a vector that grows would leave the private key behind.
        let mut out = Vec::with_capacity(2 * KEY_LEN);
        out.extend_from_slice(&*self.private);
        out.extend_from_slice(&self.public.0);
        SecretSlice::from(out)
    }

    /// The inverse of [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != 2 * KEY_LEN {
            return Err(Error::Format);
        }
        let mut private = Zeroizing::new([0u8; KEY_LEN]);
        private.copy_from_slice(&bytes[..KEY_LEN]);
        Ok(Self {
            public: HpkePublicKey::from_bytes(&bytes[KEY_LEN..])?,
            private,
        })
    }

    /// Opens a value that must belong to `at`. The value's own field and version are not believed: `at` is what counts.
    pub fn open(&self, at: &SealedField<'_>, sealed: &SealedValue) -> Result<SecretSlice<u8>, Error> {
        if sealed.key_id != self.public.key_id() {
            return Err(Error::Open);
        }
        let bytes = STANDARD.decode(&sealed.ciphertext).map_err(|_| Error::Open)?;
        let (encapsulated, ciphertext) = bytes.split_at_checked(KEY_LEN).ok_or(Error::Open)?;
        let private = HpkePrivateKey::from(self.private.to_vec());
        let mut plaintext = SUITE
            .open(
                &EncapsulatedSecret(encapsulated.to_vec()),
                INFO,
                &at.associated_data(),
                ciphertext,
                &private,
            )
            .map_err(|_| Error::Open)?;
        // Moved into an exact-size box: the vector may have spare capacity that would not be cleared.
        let secret = SecretSlice::from(plaintext.clone());
        plaintext.zeroize();
        Ok(secret)
    }
}

impl fmt::Debug for HpkeKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HpkeKeyPair({})", self.public.key_id())
    }
}

const KEY_LEN: usize = 32;
const INFO: &[u8] = b"palladium sealed field v1";

#[cfg(test)]
mod tests;
