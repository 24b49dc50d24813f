//! The manifest: a document's second line, JSON.
//!
//! One idea: algorithms and ciphers are numbers there and names everywhere else. Must never accept one that the scheme does
//! not have.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// How a document's key is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// AES key wrap, 256 bits.
    A256Kw,
    /// AES-CBC, 128 bits.
    A128Cbc,
    /// AES-CBC, 192 bits.
    A192Cbc,
    /// AES-CBC, 256 bits.
    A256Cbc,
    /// RSA-OAEP with SHA-256.
    RsaOaep256,
}

/// Names, in the order of the numbers, which begin at 1.
const ALGORITHMS: [(Algorithm, &str); 5] = [
    (Algorithm::A256Kw, "A256KW"),
    (Algorithm::A128Cbc, "A128CBC-NOPAD"),
    (Algorithm::A192Cbc, "A192CBC-NOPAD"),
    (Algorithm::A256Cbc, "A256CBC-NOPAD"),
    (Algorithm::RsaOaep256, "RSA-OAEP-256"),
];

impl Algorithm {
    /// By its name, in any case; `AES` and `RSA` stand for the usual ones.
    ///
    /// # Errors
    /// The message for people.
    pub fn named(name: &str) -> Result<Self, String> {
        let name = name.to_uppercase();
        let full = match name.as_str() {
            "AES" => "A256KW",
            "RSA" => "RSA-OAEP-256",
            other => other,
        };
        let found = ALGORITHMS.iter().find(|(_, known)| *known == full);
        let unknown = || format!("option Algorithm is not valid: algorithm {name} is not supported");
        found.map(|(algorithm, _)| *algorithm).ok_or_else(unknown)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = ALGORITHMS.iter().find(|(algorithm, _)| *algorithm == self);
        found.map_or("", |(_, name)| name)
    }

    fn number(self) -> u8 {
        (1..)
            .zip(&ALGORITHMS)
            .find(|(_, (algorithm, _))| *algorithm == self)
            .map_or(0, |(number, _)| number)
    }
}

/// How a document's segments are encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cipher {
    /// AES-GCM, 256 bits.
    #[default]
    AesGcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

impl Cipher {
    /// By its name, in any case; none = the default.
    ///
    /// # Errors
    /// The message for people.
    pub fn named(name: &str) -> Result<Self, String> {
        match name.to_uppercase().as_str() {
            "" | "AES-GCM" => Ok(Self::AesGcm),
            "CHACHA20-POLY1305" => Ok(Self::ChaCha20Poly1305),
            other => Err(format!("option Cipher is not valid: cipher {other} is not supported")),
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::AesGcm => 1,
            Self::ChaCha20Poly1305 => 2,
        }
    }
}

/// What a document's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The key that unwraps; empty = the reader must know.
    pub(crate) key_name: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) cipher: Cipher,
    pub(crate) nonce_prefix: [u8; 7],
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    k: String,
    kw: u8,
    wfk: String,
    cph: u8,
    np: String,
}

impl Manifest {
    /// As JSON.
    pub(crate) fn write(&self) -> Vec<u8> {
        let wire = Wire {
            k: self.key_name.clone(),
            kw: self.algorithm.number(),
            wfk: STANDARD.encode(&self.wrapped),
            cph: self.cipher.number(),
            np: STANDARD.encode(self.nonce_prefix),
        };
        // Texts and numbers only: there is nothing that could not be written.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// From JSON; `None` when anything is wrong with it.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let wire: Wire = serde_json::from_slice(text).ok()?;
        let algorithm = ALGORITHMS.get(usize::from(wire.kw.checked_sub(1)?))?.0;
        let cipher = match wire.cph {
            1 => Cipher::AesGcm,
            2 => Cipher::ChaCha20Poly1305,
            _ => return None,
        };
        let wrapped = STANDARD.decode(wire.wfk).ok().filter(|wrapped| !wrapped.is_empty())?;
        let nonce_prefix = STANDARD.decode(wire.np).ok()?.try_into().ok()?;
        Some(Manifest {
            key_name: wire.k,
            algorithm,
            wrapped,
            cipher,
            nonce_prefix,
        })
    }
}
