//! What control plane and region must agree on beside the wire messages: the join token's form, the exact bytes that are
//! signed, and the JSON payload of an object.
//!
//! The one idea: every byte string that is signed or hashed is built here, once, for signer and verifier. Forms and
//! encodings only: must never hold a key, decide trust or do I/O.

pub mod join_token;
pub mod payload;
pub mod signed;
pub mod status;

pub use join_token::JoinToken;
pub use payload::{Payload, PayloadMetadata};

/// Largest JSON payload of one object, in bytes. A larger one is refused on both sides.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// Largest single message of the region stream, in bytes: a snapshot holds all objects of a region.
pub const MAX_MESSAGE: usize = 64 << 20;
