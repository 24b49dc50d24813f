//! Whether a caller may use the API at all.
//!
//! One idea: the drop-in form compares one token, platform mode compares SHA-256 digests of App ID tokens; both in
//! constant time, and the header is removed before anything else sees the request. Must never log a token.

use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Header and gRPC metadata name of the token, towards us and towards the application.
pub const TOKEN_HEADER: &str = "dapr-api-token";

/// Who may call.
pub enum Auth {
    /// Anybody.
    Open,
    /// Who knows the token.
    Token(SecretString),
    /// Who knows a token with one of these digests.
    Digests(ArcSwap<Vec<Digest256>>),
}

/// Digest of an accepted token.
#[derive(Clone, Debug)]
pub struct Digest256 {
    /// SHA-256 of the whole token.
    pub sha256: [u8; 32],
    /// When it ceases to be accepted, in seconds since 1970; `None` = never.
    pub not_after: Option<i64>,
}

/// Why a caller is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No token at all.
    Missing,
    /// A token that is not accepted.
    Wrong,
}

impl Auth {
    /// Checks the token and removes it.
    ///
    /// # Errors
    /// [`Refusal`] when the caller may not go on.
    pub fn check(&self, headers: &mut HeaderMap) -> Result<(), Refusal> {
        let accepted = match (self, headers.get(TOKEN_HEADER)) {
            (Self::Open, None) => return Ok(()),
            (Self::Open, Some(_)) => true,
            (_, None) => return Err(Refusal::Missing),
            (Self::Token(token), Some(given)) => token.expose_secret().as_bytes().ct_eq(given.as_bytes()).into(),
            (Self::Digests(digests), Some(given)) => is_one_of(given.as_bytes(), &digests.load()),
        };
        headers.remove(TOKEN_HEADER);
        if accepted { Ok(()) } else { Err(Refusal::Wrong) }
    }
}

fn is_one_of(given: &[u8], digests: &[Digest256]) -> bool {
    let digest: [u8; 32] = Sha256::digest(given).into();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let valid = |one: &Digest256| {
        one.not_after
            .is_none_or(|end| u64::try_from(end).is_ok_and(|end| now < end))
    };
    let hits = digests
        .iter()
        .filter(|one| valid(one))
        .map(|one| one.sha256.ct_eq(&digest));
    hits.fold(Choice::from(0), |found, hit| found | hit).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(token: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(TOKEN_HEADER),
            token.parse().expect("ascii"),
        )])
    }

    #[test]
    fn the_token_is_checked_and_stripped() {
        let auth = Auth::Token("t".to_owned().into());
        let mut headers = with("t");
        assert_eq!(auth.check(&mut headers), Ok(()));
        assert!(headers.is_empty());
        assert_eq!(auth.check(&mut with("T")), Err(Refusal::Wrong));
        assert_eq!(auth.check(&mut HeaderMap::new()), Err(Refusal::Missing));
    }

    #[test]
    fn sec_051_digests_are_compared_and_end() {
        let sha256: [u8; 32] = Sha256::digest(b"good").into();
        let auth = |not_after| Auth::Digests(ArcSwap::from_pointee(vec![Digest256 { sha256, not_after }]));
        assert_eq!(auth(None).check(&mut with("good")), Ok(()));
        assert_eq!(auth(None).check(&mut with("bad")), Err(Refusal::Wrong));
        assert_eq!(auth(Some(1)).check(&mut with("good")), Err(Refusal::Wrong));
        assert_eq!(auth(Some(i64::MAX)).check(&mut with("good")), Ok(()));
    }
}
