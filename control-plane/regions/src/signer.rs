//! The key that signs regions' logs. Lives wrapped in a folder of its own, never in the database: whoever can write the
//! database still cannot tell a region anything.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use bytes::Bytes;
use palladium_proto::region::{LogHeader, SnapshotManifest};
use palladium_sealing::{ExposeSecret as _, Kek, sha256};
use palladium_stream::signed;
use prost::Message as _;

use crate::Error;

/// An opened signing key.
pub struct LogSigner(Ed25519KeyPair);

impl LogSigner {
    /// Opens the key in `folder`, made at the first start. Blocks on local disk.
    ///
    /// # Errors
    /// When it cannot be read, opened or written.
    pub fn open(kek: &Kek, folder: &Path) -> Result<Self, Error> {
        let path = folder.join("log-signing.key");
        let malformed = |_| Error::Config(format!("{} does not hold an Ed25519 key", path.display()));
        if let Some(stored) = kek.read_wrapped(&path, PURPOSE)? {
            return Ok(Self(
                Ed25519KeyPair::from_pkcs8(stored.expose_secret()).map_err(malformed)?,
            ));
        }
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| Error::Key(palladium_sealing::Error::Crypto("Ed25519 key generation")))?;
        kek.write_wrapped(&path, PURPOSE, pkcs8.as_ref())?;
        Ok(Self(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(malformed)?))
    }

    /// The raw 32-byte public key.
    pub fn public_key(&self) -> Bytes {
        Bytes::copy_from_slice(self.0.public_key().as_ref())
    }

    /// SHA-256 of the public key, as in join tokens.
    pub fn public_key_sha256(&self) -> [u8; 32] {
        sha256(self.0.public_key().as_ref())
    }

    /// The exact header bytes and their signature.
    pub(crate) fn entry(&self, header: &LogHeader) -> (Bytes, Bytes) {
        let header = header.encode_to_vec();
        let signature = self.0.sign(&signed::log_entry(&header));
        (header.into(), Bytes::copy_from_slice(signature.as_ref()))
    }

    /// The exact manifest bytes and their signature.
    pub(crate) fn manifest(&self, manifest: &SnapshotManifest) -> (Bytes, Bytes) {
        let manifest = manifest.encode_to_vec();
        let signature = self.0.sign(&signed::snapshot(&manifest));
        (manifest.into(), Bytes::copy_from_slice(signature.as_ref()))
    }
}

const PURPOSE: &str = "control-plane/log-signing-key";
