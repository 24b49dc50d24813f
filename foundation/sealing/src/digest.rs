//! Digests, keyed hashes, randomness and the one constant-time comparison.
//!
//! The one idea: tokens of 256 random bits are stored as plain SHA-256, everything guessable (audit values) only as a keyed
//! hash. Never compare a secret with `==`.

use aws_lc_rs::{digest, hmac, rand};
use subtle::ConstantTimeEq;

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    array(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// SHA-256 of the whole token string: the form in which gateways, Dapr Servers and the control plane know a token.
/// Sound only for tokens of at least 256 random bits.
pub fn token_digest(token: &str) -> [u8; 32] {
    sha256(token.as_bytes())
}

/// Equality whose duration does not depend on where two strings of the same length differ.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// HMAC-SHA-256 over `domain`, a zero byte and `value`: comparable, not reversible. `domain` separates uses of one key and
/// must not contain a zero byte.
pub fn keyed_hash(key: &[u8; 32], domain: &str, value: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    context.update(domain.as_bytes());
    context.update(&[0]);
    context.update(value);
    array(context.sign().as_ref())
}

/// `N` bytes from the system's random source.
///
/// # Panics
/// When the operating system has no randomness to give; nothing in this process can be trusted then.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0u8; N];
    rand::fill(&mut bytes).expect("invariant: the system's random source answers");
    bytes
}

fn array(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("invariant: SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_abc() {
        let expected = [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea];
        assert_eq!(sha256(b"abc")[..8], expected);
    }

    #[test]
    fn keyed_hash_depends_on_key_domain_and_value() {
        let (a, b) = ([1u8; 32], [2u8; 32]);
        let h = keyed_hash(&a, "audit", b"hunter2");
        assert_eq!(h, keyed_hash(&a, "audit", b"hunter2"));
        assert_ne!(h, keyed_hash(&b, "audit", b"hunter2"));
        assert_ne!(h, keyed_hash(&a, "audit2", b"hunter2"));
        assert_ne!(keyed_hash(&a, "x", b"yz"), keyed_hash(&a, "xy", b"z"));
    }

    #[test]
    fn comparison_and_randomness() {
        assert!(constant_time_eq(b"same", b"same"));
        assert!(!constant_time_eq(b"same", b"sama"));
        assert!(!constant_time_eq(b"same", b"samesame"));
        assert_ne!(random_bytes::<16>(), random_bytes::<16>());
    }
}
