//! Dapr's encryption scheme `dapr.io/enc/v1`, and how a failed call is told. Free of any protocol, and of how keys are kept.
//!
//! The one idea: a document is a header and segments of 64 KiB. The header names the key, holds the document's own key
//! wrapped under it, and is signed; a segment is encrypted under that key with its number, and whether it is the last, in
//! its nonce. So a document is written and read as it comes, in bounded memory, and no segment can be moved, left away or
//! added. Whoever drives this wraps and unwraps the key in between. Must never let out plaintext that is not authentic.

mod error;
mod file_key;
mod header;
mod manifest;
mod segments;

pub use error::CryptoError;
pub use file_key::FileKey;
pub use header::{Header, HeaderReader};
pub use manifest::{Algorithm, Cipher};
pub use segments::{Decryptor, Encryptor};

/// Name of the scheme: the first line of a document.
pub const SCHEME: &str = "dapr.io/enc/v1";
/// Plaintext in a segment; only the last one has less.
pub const SEGMENT: usize = 64 << 10;
/// What encryption adds to a segment.
pub const OVERHEAD: usize = 16;

#[cfg(test)]
mod tests;
