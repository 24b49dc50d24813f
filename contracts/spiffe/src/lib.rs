//! SPIFFE IDs, trust domains and path patterns: what every process must read the same way.
//!
//! The one idea: **strict parse, never normalise**. A string is either exactly a valid SPIFFE ID or an error; no case
//! folding, no percent-decoding, no path clean-up, so that two processes can never disagree about who somebody is.
//! Never: I/O, certificates, or a decision about trust.

mod error;
mod id;
mod pattern;
pub mod platform;
mod trust_domain;

pub use error::ParseError;
pub use id::SpiffeId;
pub use pattern::PathPattern;
pub use trust_domain::TrustDomain;

/// Longest SPIFFE ID in bytes that is read or issued.
pub const MAX_ID_BYTES: usize = 2048;
/// Longest trust domain name in bytes.
pub const MAX_TRUST_DOMAIN_BYTES: usize = 255;

#[cfg(test)]
mod tests;
