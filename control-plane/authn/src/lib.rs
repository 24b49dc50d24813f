//! Who is calling.
//!
//! The one idea: an API key is a 256-bit secret in the *form* of a signed token, because clients of Catalyst read the organization
//! out of its claims. The server believes none of it: the whole string is looked up by its SHA-256, and what the row says counts.
//! So revoking is deleting the row, effective on the next request.
//!
//! Must never: trust a claim, keep or log a key, say why a key was refused.

mod authenticate;
mod key;

pub use authenticate::{Authenticator, Caller, Refusal};
pub use key::{ApiKeyToken, HEADER_PREFIX, KEY_ID_PREFIX};
