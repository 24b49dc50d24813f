//! Cryptography at rest: values sealed to a region's key, keys wrapped by one key-encryption key, secret files, digests.
//!
//! The one idea: callers name *what* a secret is (its field, its purpose) and this crate binds that name into the
//! ciphertext, so that a value moved to another place no longer opens. It knows nothing of Palladium's objects, never logs,
//! and never returns plaintext in a type that can be printed. Everything here blocks only on local disk.
//!
//! Start reading at [`hpke`] (control plane → region) and [`kek`] (keys on disk).

pub mod digest;
mod error;
pub mod hpke;
pub mod kek;
pub mod secret_file;

pub use digest::{constant_time_eq, keyed_hash, random_bytes, sha256, token_digest};
pub use error::Error;
pub use hpke::{HpkeKeyPair, HpkePublicKey, SealedField, SealedValue};
pub use kek::{Kek, KekConfig, KekStatus};
pub use secrecy::{ExposeSecret, SecretSlice, SecretString};
pub use secret_file::read_secret_file;
