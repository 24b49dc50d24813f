//! The contract of a cryptography driver: the keeper of keys that never leave it.
//!
//! The one idea: what an application encrypts is encrypted with a key of its own, and a driver only wraps that one under a
//! key it keeps. Dapr's calls that go beyond this ("subtle") are left out of its releases, and so they are here. A driver
//! must never give out a key it keeps, nor say in an error more than that it failed.

use secrecy::SecretSlice;

use crate::error::CallError;
use crate::{Driver, Reply};

/// A registered cryptography driver.
pub type CryptoDriver = Driver<dyn CryptoProvider>;

/// One opened component. All calls may run side by side.
pub trait CryptoProvider: Send + Sync + 'static {
    /// Encrypts a key under the kept key `name`, by the algorithm's name in JOSE.
    fn wrap_key<'a>(
        &'a self,
        key: &'a SecretSlice<u8>,
        algorithm: &'a str,
        name: &'a str,
    ) -> Reply<'a, Vec<u8>, CallError>;

    /// Decrypts a key that was encrypted under the kept key `name`.
    fn unwrap_key<'a>(
        &'a self,
        wrapped: &'a [u8],
        algorithm: &'a str,
        name: &'a str,
    ) -> Reply<'a, SecretSlice<u8>, CallError>;

    /// Ends connections and tasks. No call follows.
    fn close(&self) -> Reply<'_, (), CallError> {
        Reply::ready(Ok(()))
    }
}
