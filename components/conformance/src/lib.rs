//! One suite per building block that every driver passes, and the real servers that it needs.
//!
//! The one idea: what an application may rely on is written down once, as tests over the driver contract; a driver that
//! does not pass has no line in the registry. Where drivers differ by Dapr's own doing, [`state::Backend`] says so, and the
//! suite checks the difference too. A server that cannot be started fails the test; it never passes by being absent.

// This library is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

pub mod configuration;
pub mod crypto;
pub mod crypto_keys;
pub mod daprd;
pub mod etcd_server;
pub mod lock;
pub mod memcached_server;
pub mod mysql_server;
mod owned_server;
pub mod postgres_server;
pub mod pubsub;
pub mod redis_server;
pub mod state;

/// The drivers, for suites over stores that live in another process.
pub use palladium_components_crypto as crypto_drivers;
pub use palladium_components_state as drivers;
