//! Values that are encrypted before a store sees them, as Dapr does it.
//!
//! The one idea: stored is Base64 of nonce and AES-GCM ciphertext, then `||` and the name of the key, so that a former key
//! still opens what it closed while a new one closes everything that is written. A key is named by the secret that it came
//! from; one that came without a secret's name by a digest of itself, so that it keeps its name when it becomes the former
//! one. Must never hand out a value that does not open, nor put one, or a key, into an error.

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::fill;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use palladium_component::state::{SetRequest, ValueForm};
use palladium_component::{MetadataError, Properties, StateError};

const PRIMARY: &str = "primaryEncryptionKey";
const SECONDARY: &str = "secondaryEncryptionKey";
const SEPARATOR: &[u8] = b"||";

/// The keys of one store.
pub(crate) struct Encryption {
    store: String,
    primary: Key,
    secondary: Option<Key>,
}

struct Key {
    name: String,
    key: LessSafeKey,
}

impl Encryption {
    /// Reads a component's keys; `None` when it has none.
    pub(crate) fn from_metadata(properties: &Properties, store: &str) -> Result<Option<Self>, MetadataError> {
        let secondary = Key::from_metadata(properties, SECONDARY)?;
        match Key::from_metadata(properties, PRIMARY)? {
            Some(primary) => Ok(Some(Encryption {
                store: store.into(),
                primary,
                secondary,
            })),
            None if secondary.is_some() => Err(MetadataError::new(
                SECONDARY,
                format!("there is no {PRIMARY}"),
                format!("add '{PRIMARY}': what is written is encrypted with it"),
            )),
            None => Ok(None),
        }
    }

    /// Replaces a request's value by its encrypted form.
    pub(crate) fn close(&self, request: &mut SetRequest) -> Result<(), StateError> {
        let text = plain(request);
        let value = text.as_deref().map_or(&request.value[..], str::as_bytes);
        let mut sealed = vec![0; NONCE_LEN];
        fill(&mut sealed).map_err(|_| failed("encrypt", &self.store, "no random numbers"))?;
        let nonce = Nonce::try_assume_unique_for_key(&sealed);
        let nonce = nonce.map_err(|_| failed("encrypt", &self.store, "no nonce"))?;
        let mut body = value.to_vec();
        let done = self
            .primary
            .key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut body);
        done.map_err(|_| failed("encrypt", &self.store, "it is too large"))?;
        sealed.append(&mut body);
        request.value = format!("{}||{}", STANDARD.encode(&sealed), self.primary.name).into();
        request.form = ValueForm::Binary;
        Ok(())
    }

    /// The value of an encrypted form.
    pub(crate) fn open(&self, stored: &Bytes) -> Result<Bytes, StateError> {
        if stored.is_empty() {
            return Ok(Bytes::new());
        }
        let failed = |reason: &str| failed("decrypt", &self.store, reason);
        let at = stored.windows(SEPARATOR.len()).rposition(|two| two == SEPARATOR);
        let (text, name) = at
            .and_then(|at| Some((stored.get(..at)?, stored.get(at + SEPARATOR.len()..)?)))
            .filter(|(_, name)| !name.is_empty())
            .ok_or_else(|| failed("encryption key name not found on record"))?;
        let keys = std::iter::once(&self.primary).chain(&self.secondary);
        let mut named = keys.filter(|key| key.name.as_bytes() == name).peekable();
        if named.peek().is_none() {
            return Err(failed("it was encrypted with a key that this component does not have"));
        }
        let sealed = STANDARD.decode(text).map_err(|_| failed("it is no Base64"))?;
        // Both keys may be values of one secret, and then have its name.
        named
            .find_map(|key| key.open(&sealed))
            .ok_or_else(|| failed("message authentication failed"))
    }
}

impl Key {
    fn from_metadata(properties: &Properties, field: &'static str) -> Result<Option<Self>, MetadataError> {
        let Some(text) = properties.get(field) else {
            return Ok(None);
        };
        let wrong = |reason: &str| {
            let remedy = "use 32, 48 or 64 hexadecimal digits: an AES key of 128, 192 or 256 bits";
            MetadataError::new(field, reason, remedy)
        };
        let bytes = from_hex(text).ok_or_else(|| wrong("it is not hexadecimal"))?;
        let algorithm = match bytes.len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            32 => &AES_256_GCM,
            _ => return Err(wrong("it has a length that no AES key has")),
        };
        let key = UnboundKey::new(algorithm, &bytes).map_err(|_| wrong("it cannot be used"))?;
        let name = match properties.secret_of(field) {
            Some(secret) => secret.to_owned(),
            None => digest(&SHA256, &bytes)
                .as_ref()
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        };
        Ok(Some(Key {
            name,
            key: LessSafeKey::new(key),
        }))
    }

    fn open(&self, sealed: &[u8]) -> Option<Bytes> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let length = self.key.open_in_place(nonce, Aad::empty(), &mut body).ok()?.len();
        body.truncate(length);
        Some(body.into())
    }
}

/// What Dapr encrypts of a JSON text: of a string its characters. All else stays the JSON that it is (Dapr prints objects
/// as Go would, which nobody can read again).
fn plain(request: &SetRequest) -> Option<String> {
    match request.form {
        ValueForm::Json => serde_json::from_slice::<String>(&request.value).ok(),
        ValueForm::Binary => None,
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|c| c.to_digit(16)).collect::<Option<Vec<u32>>>()?;
    let byte = |pair: &[u32]| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}

fn failed(what: &str, store: &str, reason: &str) -> StateError {
    StateError::Other(format!("could not {what} data for state store {store}: {reason}"))
}

#[cfg(test)]
mod tests;
