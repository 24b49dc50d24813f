//! App ID tokens: `pldt_<id>_<secret>_<checksum>`, what an application sends as `dapr-api-token`.
//!
//! * id: 8 characters of `a-z2-7`, random; names the token in lists and logs, proves nothing.
//! * secret: 43 characters, 32 random bytes in unpadded base64url.
//! * checksum: 6 characters of `a-z2-7`: the CRC-32 of `pldt_<id>_<secret>`, so that a typo is refused without a look-up
//!   and secret scanners find no false positives.
//!
//! Only the agent mints them; everybody else keeps the SHA-256 of the whole string. Must never decide whom a token belongs to.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What every token begins with.
pub const PREFIX: &str = "pldt_";
/// Length of a whole token in bytes.
pub const LENGTH: usize = PREFIX.len() + ID + 1 + SECRET + 1 + CHECKSUM;

const ID: usize = 8;
const SECRET: usize = 43;
const CHECKSUM: usize = 6;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

/// Makes a new token.
///
/// # Errors
/// [`NoRandomness`], in practice never.
pub fn mint() -> Result<SecretString, NoRandomness> {
    let mut id = [0; ID];
    let mut secret = Zeroizing::new([0; 32]);
    rand::fill(&mut id).map_err(|_| NoRandomness)?;
    rand::fill(secret.as_mut_slice()).map_err(|_| NoRandomness)?;
    let mut token = String::with_capacity(LENGTH);
    token.push_str(PREFIX);
    token.extend(id.map(letter));
    token.push('_');
    URL_SAFE_NO_PAD.encode_string(secret.as_slice(), &mut token);
    let checksum = checksum(token.as_bytes());
    token.push('_');
    token.extend(checksum);
    Ok(token.into())
}

/// Whether `token` has the form of one and its checksum holds. Needs no store and no secret.
pub fn is_well_formed(token: &[u8]) -> bool {
    let Some((body, sum)) = token.split_at_checked(LENGTH - CHECKSUM) else {
        return false;
    };
    let Some((body, [b'_'])) = body.split_last_chunk::<1>().map(|(body, last)| (body, *last)) else {
        return false;
    };
    let in_alphabet = |bytes: &[u8]| bytes.iter().all(|byte| ALPHABET.contains(byte));
    let (prefix, rest) = body.split_at(PREFIX.len());
    let (id, rest) = rest.split_at(ID);
    prefix == PREFIX.as_bytes()
        && in_alphabet(id)
        && rest.first() == Some(&b'_')
        && rest[1..]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && sum.len() == CHECKSUM
        && checksum(body)
            .iter()
            .zip(sum)
            .all(|(expected, given)| *expected == char::from(*given))
}

/// The id part of a well-formed token: safe to show and to log.
pub fn id(token: &str) -> Option<&str> {
    is_well_formed(token.as_bytes()).then(|| &token[PREFIX.len()..PREFIX.len() + ID])
}

/// SHA-256 of the whole token: what routes and Dapr Servers hold. At 256 random bits no key is needed.
pub fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn letter(byte: u8) -> char {
    char::from(ALPHABET[usize::from(byte % 32)])
}

fn checksum(body: &[u8]) -> [char; CHECKSUM] {
    let sum = crc32fast::hash(body);
    std::array::from_fn(|index| letter((sum >> (27 - 5 * index)) as u8 & 31))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_minted_token_is_well_formed_and_unlike_the_next() {
        let (one, two) = (mint().expect("random"), mint().expect("random"));
        assert_eq!(one.expose_secret().len(), LENGTH);
        assert!(is_well_formed(one.expose_secret().as_bytes()));
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert_eq!(id(one.expose_secret()).map(str::len), Some(8));
    }

    proptest! {
        #[test]
        fn sec_048_any_single_changed_byte_is_noticed_offline(at in 0..LENGTH, to in any::<u8>()) {
            let token = mint().expect("random");
            let mut bytes = token.expose_secret().as_bytes().to_vec();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            prop_assert!(!is_well_formed(&bytes));
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            is_well_formed(&bytes);
        }
    }
}
