//! What this region is to the control plane: its lasting key, and what joining taught it.
//!
//! The one idea: after joining, nothing but these two files is needed to come back after any absence; certificates are
//! never kept. The key lies on disk only wrapped. Blocks on local disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use bytes::Bytes;
use palladium_sealing::{ExposeSecret as _, HpkeKeyPair, Kek};
use serde::{Deserialize, Serialize};

use crate::desired::LogKey;
use crate::{Error, json_file};

/// What is known after joining. Not secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Joined {
    /// `host:port` of the control plane's region stream.
    pub(crate) address: String,
    pub(crate) organization_id: String,
    pub(crate) control_trust_domain: String,
    /// PEM.
    pub(crate) control_roots: String,
    /// Ed25519, 32 bytes, hexadecimal.
    pub(crate) log_public_key: String,
}

impl Joined {
    /// Reads the file; `None` before joining.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, Error> {
        json_file::read(&folder.join(FILE))
    }

    /// Replaces the file.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        json_file::write(&folder.join(FILE), self)
    }

    /// The key that signs this region's log.
    pub(crate) fn log_key(&self) -> Option<LogKey> {
        unhex(&self.log_public_key).map(|bytes| LogKey(Bytes::copy_from_slice(&bytes)))
    }
}

/// 32 bytes in hexadecimal digits.
pub(crate) fn unhex(digits: &str) -> Option<[u8; 32]> {
    let bytes: Option<Vec<u8>> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect();
    bytes?.try_into().ok()
}

/// The region's P-256 key.
#[derive(Clone)]
pub(crate) struct RegionKey(Arc<EcdsaKeyPair>);

impl RegionKey {
    /// Where it lies.
    pub(crate) fn file(folder: &Path) -> PathBuf {
        folder.join("region.key")
    }

    /// Opens the key, made at the first start.
    pub(crate) fn open(kek: &Kek, folder: &Path) -> Result<Self, Error> {
        let path = Self::file(folder);
        let parse = |pkcs8: &[u8]| {
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8)
                .map(|pair| Self(Arc::new(pair)))
                .map_err(|_| Error::Damaged {
                    path: path.clone(),
                    reason: "not a P-256 key".to_owned(),
                })
        };
        if let Some(stored) = kek.read_wrapped(&path, "agent/region-key")? {
            return parse(stored.expose_secret());
        }
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| palladium_sealing::Error::Crypto("P-256 key generation"))?;
        kek.write_wrapped(&path, "agent/region-key", pkcs8.as_ref())?;
        parse(pkcs8.as_ref())
    }

    /// DER SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> Result<Bytes, Error> {
        let der = self
            .0
            .public_key()
            .as_der()
            .map_err(|_| palladium_sealing::Error::Crypto("encoding a public key"))?;
        Ok(Bytes::copy_from_slice(der.as_ref()))
    }

    /// ECDSA with SHA-256, ASN.1.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Bytes, Error> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        Ok(Bytes::copy_from_slice(
            signature
                .map_err(|_| palladium_sealing::Error::Crypto("signing"))?
                .as_ref(),
        ))
    }
}

/// Opens the region's sealing key, made at the first start.
pub(crate) fn hpke_key(kek: &Kek, folder: &Path) -> Result<HpkeKeyPair, Error> {
    let path: PathBuf = folder.join("hpke.key");
    if let Some(stored) = kek.read_wrapped(&path, "agent/hpke-key")? {
        return Ok(HpkeKeyPair::from_bytes(stored.expose_secret())?);
    }
    let key = HpkeKeyPair::generate()?;
    kek.write_wrapped(&path, "agent/hpke-key", key.to_bytes().expose_secret())?;
    Ok(key)
}

const FILE: &str = "joined.json";
