//! The key-encryption key: one key per zone that wraps every other key and secret at rest.
//!
//! The one idea: nothing that must stay secret lies on disk except under this key, and each blob is bound to its purpose,
//! so that files cannot be swapped. A bare key file is for laptops; [`Kek::status`] says so. Must never be serialized.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::pbkdf2;
use palladium_os::files::{create_private, write_private};
use secrecy::SecretSlice;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Error;
use crate::digest::{keyed_hash, random_bytes};
use crate::secret_file::{read_limited, read_secret_file};

/// Where the key-encryption key comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum KekConfig {
    /// 32 random bytes in a file of mode 0600, made at the first start.
    KeyFile {
        /// The file.
        path: PathBuf,
    },
    /// A passphrase, read once at start from a systemd credential or an inherited descriptor (`/dev/fd/3`); trailing line
    /// ends are dropped. The random salt lies in `salt_file`, made at the first start.
    Passphrase {
        /// Where to read the passphrase.
        path: PathBuf,
        /// Where the salt is kept.
        salt_file: PathBuf,
    },
}

/// What a status page says about the key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KekStatus {
    /// `keyFile` or `passphrase`.
    pub source: &'static str,
    /// False for a bare key file: whoever copies the disk can read everything.
    pub protects_a_copied_disk: bool,
    /// Public id of the key.
    pub key_id: String,
}

/// An opened key-encryption key.
pub struct Kek {
    key: LessSafeKey,
    id: [u8; ID_LEN],
    source: &'static str,
}

impl Kek {
    /// Opens the key, making it (or its salt) on the first start. Blocks: a passphrase costs about 0.2 s of one core.
    pub fn open(config: &KekConfig) -> Result<Self, Error> {
        match config {
            KekConfig::KeyFile { path } => Ok(Self::from_bytes(&*key_file(path)?, "keyFile")),
            KekConfig::Passphrase { path, salt_file } => {
                let passphrase = Zeroizing::new(read_limited(path, MAX_PASSPHRASE)?);
                let end = passphrase
                    .iter()
                    .rposition(|byte| !matches!(byte, b'\n' | b'\r'))
                    .map_or(0, |last| last + 1);
                if end == 0 {
                    return Err(Error::Size { path: path.clone() });
                }
                let salt = salt(salt_file)?;
                let mut key = Zeroizing::new([0u8; KEY_LEN]);
                pbkdf2::derive(
                    pbkdf2::PBKDF2_HMAC_SHA256,
                    ITERATIONS,
                    &salt,
                    &passphrase[..end],
                    &mut *key,
                );
                Ok(Self::from_bytes(&key, "passphrase"))
            }
        }
    }

    /// Wraps `plaintext` for `purpose` (such as `"sentry/issuer.key"`): header, key id, nonce, AES-256-GCM ciphertext.
    pub fn wrap(&self, purpose: &str, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let nonce = random_bytes::<NONCE_LEN>();
        let mut out = [MAGIC.as_slice(), &self.id].concat();
        let associated = associated_data(&out, purpose);
        out.extend_from_slice(&nonce);
        // Room for the tag: a vector that grows would leave the plaintext behind.
        let mut body = Zeroizing::new(Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len()));
        body.extend_from_slice(plaintext);
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut *body)
            .map_err(|_| Error::Crypto("wrapping a key"))?;
        out.extend_from_slice(&body);
        Ok(out)
    }

    /// Opens what [`Self::wrap`] made for the same purpose.
    pub fn unwrap(&self, purpose: &str, blob: &[u8]) -> Result<SecretSlice<u8>, Error> {
        let (header, rest) = blob.split_at_checked(MAGIC.len() + ID_LEN).ok_or(Error::Format)?;
        let (magic, id) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(Error::Format);
        }
        if id != self.id {
            return Err(Error::OtherKek {
                found: hex(id),
                held: hex(&self.id),
            });
        }
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(Error::Format)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Format)?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let plaintext = self
            .key
            .open_in_place(nonce, Aad::from(associated_data(header, purpose)), &mut buffer)
            .map_err(|_| Error::Open)?;
        Ok(SecretSlice::from(plaintext.to_vec()))
    }

    /// Wraps into a secret file (atomic, 0600).
    pub fn write_wrapped(&self, path: &Path, purpose: &str, plaintext: &[u8]) -> Result<(), Error> {
        Ok(write_private(path, &self.wrap(purpose, plaintext)?)?)
    }

    /// Reads a wrapped secret file; `None` when there is none.
    pub fn read_wrapped(&self, path: &Path, purpose: &str) -> Result<Option<SecretSlice<u8>>, Error> {
        match read_secret_file(path, MAX_WRAPPED) {
            Ok(blob) => self.unwrap(purpose, &blob).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What to tell the operator about this key.
    pub fn status(&self) -> KekStatus {
        KekStatus {
            source: self.source,
            protects_a_copied_disk: self.source != "keyFile",
            key_id: hex(&self.id),
        }
    }

    /// A random 32-byte key kept wrapped at `path`, made at first use: for keyed hashes that must be stable over restarts.
    pub fn stored_key(&self, purpose: &str, path: &Path) -> Result<Zeroizing<[u8; 32]>, Error> {
        // Random, not computed from the key-encryption key: replacing that one must not change this one.
        let mut key = Zeroizing::new([0u8; 32]);
        let stored = match self.read_wrapped(path, purpose)? {
            Some(stored) => stored,
            None => {
                *key = random_bytes();
                if create_private(path, &self.wrap(purpose, &*key)?)? {
                    return Ok(key);
                }
                self.read_wrapped(path, purpose)?.ok_or(Error::Format)?
            }
        };
        let stored = secrecy::ExposeSecret::expose_secret(&stored);
        if stored.len() != key.len() {
            return Err(Error::Format);
        }
        key.copy_from_slice(stored);
        Ok(key)
    }

    fn from_bytes(key: &[u8; KEY_LEN], source: &'static str) -> Self {
        let digest = keyed_hash(key, "palladium-kek-id", b"");
        let mut id = [0u8; ID_LEN];
        id.copy_from_slice(&digest[..ID_LEN]);
        let unbound = UnboundKey::new(&AES_256_GCM, key).expect("invariant: AES-256 takes 32 bytes");
        Self {
            key: LessSafeKey::new(unbound),
            id,
            source,
        }
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek({}, {})", self.source, hex(&self.id))
    }
}

/// The key in a file, made at the first start. Of processes that start at once, one makes it and all use that one.
fn key_file(path: &Path) -> Result<Zeroizing<[u8; KEY_LEN]>, Error> {
    let mut key = Zeroizing::new([0u8; KEY_LEN]);
    let stored = match read_secret_file(path, KEY_LEN) {
        Err(error) if is_absent(&error) => {
            *key = random_bytes();
            if create_private(path, &*key)? {
                return Ok(key);
            }
            read_secret_file(path, KEY_LEN)?
        }
        read => read?,
    };
    let stored = Zeroizing::new(stored);
    if stored.len() != KEY_LEN {
        return Err(Error::Size { path: path.to_owned() });
    }
    key.copy_from_slice(&stored);
    Ok(key)
}

/// As [`key_file`], for what is no secret.
fn salt(path: &Path) -> Result<Vec<u8>, Error> {
    let salt = match read_limited(path, SALT_LEN) {
        Err(error) if is_absent(&error) => {
            let salt = random_bytes::<SALT_LEN>();
            if create_private(path, &salt)? {
                return Ok(salt.to_vec());
            }
            read_limited(path, SALT_LEN)?
        }
        read => read?,
    };
    if salt.len() != SALT_LEN {
        return Err(Error::Size { path: path.to_owned() });
    }
    Ok(salt)
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::File(palladium_os::Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound)
}

fn associated_data(header: &[u8], purpose: &str) -> Vec<u8> {
    [header, purpose.as_bytes()].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const KEY_LEN: usize = 32;
const ID_LEN: usize = 8;
const SALT_LEN: usize = 32;
const MAX_PASSPHRASE: usize = 4096;
const MAX_WRAPPED: usize = 16 << 20;
/// First bytes of every wrapped blob; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"PLDWRAP1";
/// OWASP's 2023 figure for PBKDF2-HMAC-SHA256.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).expect("invariant: not zero");

#[cfg(test)]
mod tests;
