//! A document's header: three lines, the scheme's name, the manifest, and a signature of both.
//!
//! One idea: a header is read byte by byte as it comes, and given up when it is longer than a segment. Must never let a
//! document be decrypted before its signature was checked.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretSlice;

use crate::manifest::Manifest;
use crate::{Algorithm, Cipher, CryptoError, Decryptor, Encryptor, FileKey, SCHEME, SEGMENT};

fn failed(reason: impl Into<String>) -> CryptoError {
    CryptoError::Failed(reason.into())
}

impl Encryptor {
    /// Begins a document whose key was wrapped. `key_name` is what the reader unwraps it by; empty = it must know.
    ///
    /// # Errors
    /// When the header would be too long.
    pub fn new(
        key: &FileKey,
        key_name: &str,
        algorithm: Algorithm,
        cipher: Cipher,
        wrapped: Vec<u8>,
    ) -> Result<Self, CryptoError> {
        let manifest = Manifest {
            key_name: key_name.to_owned(),
            algorithm,
            wrapped,
            cipher,
            nonce_prefix: key.nonce_prefix(),
        };
        let mut header = message(&manifest.write());
        let signature = hmac::sign(&key.header_key().map_err(failed)?, &header);
        header.extend_from_slice(STANDARD.encode(signature).as_bytes());
        header.push(b'\n');
        if header.len() > SEGMENT {
            return Err(failed("failed to sign header: header is too long"));
        }
        Ok(Self::begin(header, key.payload(cipher).map_err(failed)?))
    }
}

/// What is signed.
fn message(manifest: &[u8]) -> Vec<u8> {
    [SCHEME.as_bytes(), b"\n", manifest, b"\n"].concat()
}

/// Reads the header of a document.
#[derive(Debug, Default)]
pub struct HeaderReader {
    text: Vec<u8>,
    /// Ends of lines so far.
    ends: Vec<usize>,
}

impl HeaderReader {
    /// Takes what came. The header when it is whole; what came behind it is in [`Header::rest`].
    ///
    /// # Errors
    /// When it is none.
    pub fn push(&mut self, data: &[u8]) -> Result<Option<Header>, CryptoError> {
        let room = SEGMENT - self.text.len();
        let taken = &data[..data.len().min(room)];
        for (at, byte) in taken.iter().enumerate() {
            if *byte != b'\n' {
                continue;
            }
            let end = self.text.len() + at;
            let start = self.ends.last().map_or(0, |last| last + 1);
            if end <= start {
                return Err(failed("invalid header: invalid format"));
            }
            self.ends.push(end);
            if self.ends.len() == 3 {
                self.text.extend_from_slice(&taken[..at]);
                return self.whole(data[at + 1..].to_vec()).map(Some);
            }
        }
        self.text.extend_from_slice(taken);
        if let Some(end) = self.ends.first().copied() {
            self.check_scheme(end)?;
        }
        if self.text.len() == SEGMENT {
            return Err(self.unfinished());
        }
        Ok(None)
    }

    /// There is no more, and the header is not whole.
    pub fn unfinished(&self) -> CryptoError {
        failed(match self.ends.len() {
            0 => "invalid header: scheme name not found",
            1 => "invalid header: manifest not found",
            _ => "invalid header: message authentication code not found",
        })
    }

    fn check_scheme(&self, end: usize) -> Result<(), CryptoError> {
        match &self.text[..end] == SCHEME.as_bytes() {
            true => Ok(()),
            false => Err(failed("invalid header: unsupported scheme")),
        }
    }

    fn whole(&self, rest: Vec<u8>) -> Result<Header, CryptoError> {
        let [first, second, _] = self.ends[..] else {
            return Err(self.unfinished());
        };
        self.check_scheme(first)?;
        let text = &self.text[first + 1..second];
        let manifest = Manifest::read(text).ok_or_else(|| failed("invalid header: invalid manifest"))?;
        Ok(Header {
            message: message(text),
            manifest,
            signature: self.text[second + 1..].to_vec(),
            rest,
        })
    }
}

/// A header whose signature is still to be checked.
pub struct Header {
    message: Vec<u8>,
    manifest: Manifest,
    signature: Vec<u8>,
    rest: Vec<u8>,
}

impl Header {
    /// The name of the key that unwraps the document's: the one that the caller says, or the document's.
    ///
    /// # Errors
    /// When neither says one.
    pub fn key_name<'a>(&'a self, said: &'a str) -> Result<&'a str, CryptoError> {
        let name = if said.is_empty() { &self.manifest.key_name } else { said };
        match name.is_empty() {
            true => Err(failed(
                "document's manifest does not contain a key name, and no key name was provided",
            )),
            false => Ok(name),
        }
    }

    /// By what the document's key is wrapped.
    pub fn algorithm(&self) -> Algorithm {
        self.manifest.algorithm
    }

    /// The document's key, wrapped.
    pub fn wrapped(&self) -> &[u8] {
        &self.manifest.wrapped
    }

    /// Checks the signature by the document's key, and begins to decrypt. `None`: it could not be unwrapped. With it comes
    /// what was read behind the header.
    ///
    /// # Errors
    /// When the signature is not by that key.
    pub fn open(self, key: Option<SecretSlice<u8>>) -> Result<(Decryptor, Vec<u8>), CryptoError> {
        let key = FileKey::of_document(key, self.manifest.nonce_prefix);
        let signature = STANDARD.decode(&self.signature);
        let signature = signature.map_err(|_| failed("failed to decode header's signature"))?;
        // Compares in constant time.
        hmac::verify(&key.header_key().map_err(failed)?, &self.message, &signature)
            .map_err(|_| failed("failed to validate the document's signature"))?;
        let payload = key.payload(self.manifest.cipher).map_err(failed)?;
        Ok((Decryptor::begin(payload), self.rest))
    }
}
