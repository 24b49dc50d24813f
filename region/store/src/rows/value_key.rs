//! The key of a project's values.
//!
//! The one idea: a value opens only at its own place. Project, component and key are bound into the ciphertext, so a
//! row moved to another key, component or file does not decrypt. Nonces are random; at 2^32 writes under one key their
//! chance of meeting is still 2^-33. Must never take a nonce from a caller, open a value without its place, or show the
//! key in `Debug`.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use palladium_sealing::random_bytes;

use super::StorageError;

const CONTEXT: &[u8] = b"palladium-store-row-v1";

pub(crate) struct ValueKey(LessSafeKey);

impl ValueKey {
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("invariant: AES-256 takes 32 bytes");
        ValueKey(LessSafeKey::new(key))
    }

    /// Nonce, ciphertext, tag.
    pub(crate) fn seal(
        &self,
        project: &str,
        component: &str,
        key: &str,
        value: &[u8],
    ) -> Result<Vec<u8>, StorageError> {
        let nonce = random_bytes::<NONCE_LEN>();
        let mut sealed = Vec::with_capacity(NONCE_LEN + value.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(value);
        let place = Aad::from(place(project, component, key));
        let done = self
            .0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place, &mut sealed);
        done.map_err(|_| StorageError::Other("a value cannot be encrypted".into()))?;
        sealed.splice(..0, nonce);
        Ok(sealed)
    }

    /// The value, when it was sealed by this key for this place.
    pub(crate) fn open(
        &self,
        project: &str,
        component: &str,
        key: &str,
        mut sealed: Vec<u8>,
    ) -> Result<Vec<u8>, StorageError> {
        let damaged =
            || StorageError::Other("a stored value is damaged: it does not open with the project's key".into());
        let (nonce, body) = sealed.split_at_mut_checked(NONCE_LEN).ok_or_else(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let place = Aad::from(place(project, component, key));
        let length = self.0.open_in_place(nonce, place, body).map_err(|_| damaged())?.len();
        sealed.truncate(NONCE_LEN + length);
        sealed.drain(..NONCE_LEN);
        Ok(sealed)
    }
}

impl fmt::Debug for ValueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValueKey")
    }
}

/// The place as unambiguous bytes: each part with its length.
fn place(project: &str, component: &str, key: &str) -> Vec<u8> {
    let mut bytes = CONTEXT.to_vec();
    for part in [project, component, key] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_opens_only_at_its_place_and_whole() {
        let key = ValueKey::new(&[7; 32]);
        let sealed = key.seal("prj-a", "uid", "app||k", b"secret value").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(
            key.open("prj-a", "uid", "app||k", sealed.clone()).unwrap(),
            b"secret value"
        );
        for (project, component, name) in [
            ("prj-b", "uid", "app||k"),
            ("prj-a", "uie", "app||k"),
            ("prj-a", "uid", "app||l"),
            ("prj-au", "id", "app||k"),
        ] {
            assert!(key.open(project, component, name, sealed.clone()).is_err());
        }
        assert!(
            ValueKey::new(&[8; 32])
                .open("prj-a", "uid", "app||k", sealed.clone())
                .is_err()
        );
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open("prj-a", "uid", "app||k", changed).is_err());
            assert!(key.open("prj-a", "uid", "app||k", sealed[..at].to_vec()).is_err());
        }
    }

    proptest! {
        #[test]
        fn places_are_unambiguous(a in ".{0,8}", b in ".{0,8}", c in ".{0,8}", d in ".{0,8}", e in ".{0,8}", f in ".{0,8}") {
            prop_assert_eq!(place(&a, &b, &c) == place(&d, &e, &f), (a, b, c) == (d, e, f));
        }

        #[test]
        fn every_value_comes_back(value in proptest::collection::vec(any::<u8>(), 0..300), name in ".{0,20}") {
            let key = ValueKey::new(&[1; 32]);
            let sealed = key.seal("p", "c", &name, &value).unwrap();
            prop_assert_eq!(key.open("p", "c", &name, sealed).unwrap(), value);
        }
    }
}
