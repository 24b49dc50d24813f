//! A sign-in on its way, sealed for the browser that carries it.
//!
//! One idea: only this process can open the seal, so what comes back is what was given out; a sign-in that takes longer than
//! [`LIFE`] has to begin again, as does one that a restart has overtaken. Must never reach a log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palladium_component::OpenError;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// How long a sign-in may take.
pub(super) const LIFE: Duration = Duration::from_secs(600);
/// Longest path that is remembered; a cookie has 4 KiB.
const LONGEST: usize = 2048;
const NONCE: usize = 12;

#[derive(Serialize, Deserialize)]
pub(super) struct Login {
    pub(super) state: String,
    /// Of PKCE.
    pub(super) verifier: String,
    /// Path and query of the request that began it.
    pub(super) target: String,
    /// Seconds since 1970.
    until: u64,
}

impl Login {
    pub(super) fn new(target: &str) -> Option<Self> {
        let path = target.split('?').next().unwrap_or_default();
        let shorter = [target, path, "/"].into_iter().find(|text| text.len() <= LONGEST);
        Some(Self {
            state: random()?,
            verifier: random()?,
            target: shorter.unwrap_or_default().to_owned(),
            until: now() + LIFE.as_secs(),
        })
    }

    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()))
    }

    pub(super) fn is_of(&self, state: &str) -> bool {
        verify_slices_are_equal(self.state.as_bytes(), state.as_bytes()).is_ok()
    }
}

/// What seals; a new one with each start.
pub(super) struct Seal(RandomizedNonceKey);

impl Seal {
    pub(super) fn new() -> Result<Self, OpenError> {
        let failed = || OpenError::Unavailable("this machine gives no random numbers".to_owned());
        let mut key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *key).map_err(|_| failed())?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*key).map_err(|_| failed())?;
        Ok(Self(key))
    }

    pub(super) fn close(&self, login: &Login) -> Option<String> {
        let mut text = serde_json::to_vec(login).ok()?;
        let nonce = self.0.seal_in_place_append_tag(Aad::empty(), &mut text).ok()?;
        let sealed = [&nonce.as_ref()[..], &text].concat();
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The sign-in, if it is one of ours and not over.
    pub(super) fn open(&self, sealed: &str) -> Option<Login> {
        let mut sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, text) = sealed.split_at_mut_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self.0.open_in_place(nonce, Aad::empty(), text).ok()?;
        let login: Login = serde_json::from_slice(text).ok()?;
        (now() < login.until).then_some(login)
    }
}

/// What nobody guesses.
pub(super) fn random() -> Option<String> {
    let mut bytes = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(*bytes))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_sealed_it_opens_it() {
        let (seal, other) = (Seal::new().unwrap(), Seal::new().unwrap());
        let login = Login::new("/a?b=c").unwrap();
        let sealed = seal.close(&login).unwrap();
        let opened = seal.open(&sealed).unwrap();
        assert!(opened.is_of(&login.state) && !opened.is_of("") && opened.target == "/a?b=c");
        assert!(other.open(&sealed).is_none() && seal.open("").is_none() && seal.open("AAAA").is_none());
        let mut late = Login::new("/").unwrap();
        late.until = now();
        assert!(seal.open(&seal.close(&late).unwrap()).is_none());
    }

    #[test]
    fn a_long_way_is_cut() {
        let target = format!("/p?{}", "q".repeat(LONGEST));
        assert_eq!(Login::new(&target).unwrap().target, "/p");
        assert_eq!(Login::new(&"/".repeat(LONGEST + 1)).unwrap().target, "/");
    }
}
