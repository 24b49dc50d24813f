//! A key in this process, and the two things that are done with it.
//!
//! The one idea: which algorithm goes with which key is decided here, with the words of Dapr's own drivers; the arithmetic is
//! aws-lc's. Wrapping by AES-CBC, which the scheme names, is not supported by Dapr's drivers that keep keys themselves, and so
//! not by these. Must never tell why a key could not be unwrapped by more than "it failed".

mod jwk;
mod text;

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use palladium_component::CallError;
use secrecy::{ExposeSecret as _, SecretSlice};
use thiserror::Error;
use zeroize::Zeroizing;

pub(crate) use jwk::{Jwk, JwkSet};
pub(crate) use text::{Form, parse};

/// Why a key cannot be used. Never holds a piece of it.
#[derive(Debug, Clone, Error)]
pub(crate) enum KeyError {
    #[error("key is empty")]
    Empty,
    #[error("it is not a JSON Web Key")]
    NotJwk,
    #[error("it is not a PEM-encoded key")]
    NotPem,
    #[error("its member '{0}' is missing or cannot be read")]
    Member(&'static str),
    #[error("the RSA key is refused: it needs 2048 to 8192 bits and numbers that fit together")]
    Rsa,
}

/// What a key is.
enum Material {
    Symmetric(SecretSlice<u8>),
    Rsa {
        public: OaepPublicEncryptingKey,
        private: Option<OaepPrivateDecryptingKey>,
    },
    /// A key that wraps nothing: of an elliptic curve.
    Other,
}

/// What a key may be used for, as its owner says in a JSON Web Key. Nothing said: everything.
#[derive(Debug, Clone, Default)]
struct Purpose {
    usage: String,
    operations: Vec<String>,
    algorithm: String,
}

/// One key.
pub(crate) struct Key {
    material: Material,
    purpose: Purpose,
}

impl Key {
    fn new(material: Material) -> Self {
        let purpose = Purpose::default();
        Key { material, purpose }
    }

    fn symmetric(bytes: Vec<u8>) -> Result<Self, KeyError> {
        match bytes.is_empty() {
            true => Err(KeyError::Empty),
            false => Ok(Key::new(Material::Symmetric(bytes.into()))),
        }
    }

    fn rsa_private(private: PrivateDecryptingKey) -> Result<Self, KeyError> {
        let public = OaepPublicEncryptingKey::new(private.public_key()).map_err(|_| KeyError::Rsa)?;
        let private = OaepPrivateDecryptingKey::new(private).map_err(|_| KeyError::Rsa)?;
        let private = Some(private);
        Ok(Key::new(Material::Rsa { public, private }))
    }

    fn rsa_public(public: PublicEncryptingKey) -> Result<Self, KeyError> {
        let public = OaepPublicEncryptingKey::new(public).map_err(|_| KeyError::Rsa)?;
        Ok(Key::new(Material::Rsa { public, private: None }))
    }

    /// Encrypts a key under this one.
    pub(crate) fn wrap(&self, key: &SecretSlice<u8>, algorithm: &str) -> Result<Vec<u8>, CallError> {
        self.purpose.allows("wrapKey", algorithm)?;
        let failed = |why: &str| CallError::Invalid(format!("failed to encrypt data: {why}"));
        let key = key.expose_secret();
        match Method::of(algorithm, &self.material).map_err(failed)? {
            Method::Aes(kek) => {
                let mut wrapped = vec![0; key.len() + 8];
                let length = kek
                    .wrap(key, &mut wrapped)
                    .map_err(|_| failed("the key cannot be wrapped"))?
                    .len();
                wrapped.truncate(length);
                Ok(wrapped)
            }
            Method::Oaep { public, .. } => {
                let mut wrapped = vec![0; public.ciphertext_size()];
                let length = public
                    .encrypt(&OAEP_SHA256_MGF1SHA256, key, &mut wrapped, None)
                    .map_err(|_| failed("the key cannot be wrapped"))?
                    .len();
                wrapped.truncate(length);
                Ok(wrapped)
            }
        }
    }

    /// Decrypts a key that was encrypted under this one.
    pub(crate) fn unwrap(&self, wrapped: &[u8], algorithm: &str) -> Result<SecretSlice<u8>, CallError> {
        self.purpose.allows("unwrapKey", algorithm)?;
        let failed = |why: &str| CallError::Invalid(format!("failed to decrypt data: {why}"));
        const WRONG: &str = "the key cannot be unwrapped";
        let (mut key, length) = match Method::of(algorithm, &self.material).map_err(failed)? {
            Method::Aes(kek) => {
                let mut key = Zeroizing::new(vec![0; wrapped.len()]);
                let length = kek.unwrap(wrapped, &mut key).map_err(|_| failed(WRONG))?.len();
                (key, length)
            }
            Method::Oaep { private, .. } => {
                let private = private.ok_or_else(|| failed(MISMATCH))?;
                let mut key = Zeroizing::new(vec![0; private.min_output_size()]);
                let length = private
                    .decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut key, None)
                    .map_err(|_| failed(WRONG))?
                    .len();
                (key, length)
            }
        };
        key.truncate(length);
        Ok(std::mem::take(&mut *key).into())
    }
}

const MISMATCH: &str = "key type mismatch";

/// An algorithm with its key.
enum Method<'a> {
    Aes(AesKek),
    Oaep {
        public: &'a OaepPublicEncryptingKey,
        private: Option<&'a OaepPrivateDecryptingKey>,
    },
}

impl<'a> Method<'a> {
    fn of(algorithm: &str, material: &'a Material) -> Result<Self, &'static str> {
        match (algorithm, material) {
            // A key of another length is refused there.
            ("A256KW", Material::Symmetric(key)) => AesKek::new(&AES_256, key.expose_secret())
                .map(Method::Aes)
                .map_err(|_| MISMATCH),
            ("RSA-OAEP-256", Material::Rsa { public, private }) => Ok(Method::Oaep {
                public,
                private: private.as_ref(),
            }),
            ("A256KW" | "RSA-OAEP-256", _) => Err(MISMATCH),
            _ => Err("unsupported algorithm"),
        }
    }
}

impl Purpose {
    fn allows(&self, operation: &str, algorithm: &str) -> Result<(), CallError> {
        let listed = self.operations.is_empty() || self.operations.iter().any(|one| one == operation);
        if !listed || !["", "enc"].contains(&self.usage.as_str()) {
            let why = format!("key cannot perform the '{operation}' operation");
            return Err(CallError::Invalid(why));
        }
        if !self.algorithm.is_empty() && self.algorithm != algorithm {
            let why = format!("key cannot be used with algorithm '{algorithm}'");
            return Err(CallError::Invalid(why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
