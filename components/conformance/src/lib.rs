//! One suite per building block that every driver passes.
//!
//! The one idea: what an application may rely on is written down once, as tests over the driver contract; a driver that
//! does not pass has no line in the registry. Where drivers differ by Dapr's own doing, [`state::Backend`] says so, and the
//! suite checks the difference too. Must never let a driver pass because its server is absent.

// This library is test code: a failed expectation is a failed test.
#![allow(clippy::unwrap_used)]

pub mod bindings;
pub mod configuration;
pub mod crypto;
pub mod crypto_keys;
pub mod lock;
pub mod pubsub;
pub mod state;

/// The drivers, for suites over stores that live in another process.
pub use palladium_components_crypto as crypto_drivers;
pub use palladium_components_pubsub as pubsub_drivers;
pub use palladium_components_state as drivers;
