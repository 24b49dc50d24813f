//! The join token: one string, `plj_<base64url of JSON>_<checksum>`, that a region's owner carries to the new region once.
//!
//! The one idea: it names the control plane by what cannot be forged (the hash of its root and of its signing key), so the
//! first contact needs no other trust. Only SHA-256 of the secret is kept by the control plane. Must never be logged.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use palladium_sealing::{ExposeSecret as _, SecretString, constant_time_eq, sha256};
use serde::{Deserialize, Serialize};

/// What every join token begins with.
pub const PREFIX: &str = "plj_";
/// A longer text is not a join token.
pub const MAX_LENGTH: usize = 4096;

/// A parsed join token.
#[derive(Clone)]
pub struct JoinToken {
    /// `https://host:port` of the control plane's region listener.
    pub url: String,
    /// SHA-256 of the DER of the control plane's root certificate.
    pub root_sha256: [u8; 32],
    /// SHA-256 of the raw 32-byte Ed25519 key that signs the log.
    pub log_key_sha256: [u8; 32],
    /// The region that it is for.
    pub region_id: String,
    /// Names the token; not secret.
    pub id: String,
    /// 43 characters of base64url: 256 random bits.
    pub secret: SecretString,
}

/// The text is not a join token. Says nothing of what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a join token: it must be the whole string that begins with plj_, on one line")]
pub struct NotAJoinToken;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    v: u8,
    url: String,
    root: String,
    log: String,
    region: String,
    id: String,
    secret: String,
}

impl JoinToken {
    /// The string to hand over.
    pub fn encode(&self) -> SecretString {
        let wire = Wire {
            v: 1,
            url: self.url.clone(),
            root: URL_SAFE_NO_PAD.encode(self.root_sha256),
            log: URL_SAFE_NO_PAD.encode(self.log_key_sha256),
            region: self.region_id.clone(),
            id: self.id.clone(),
            secret: self.secret.expose_secret().to_owned(),
        };
        let json = serde_json::to_vec(&wire).expect("invariant: strings and numbers always serialize");
        let mut text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json));
        let checksum = checksum(&text);
        text.push('_');
        text.push_str(&checksum);
        SecretString::from(text)
    }

    /// Reads one; surrounding white space (the end of a file's line) is ignored.
    ///
    /// # Errors
    /// When anything is missing, superfluous or damaged.
    pub fn parse(text: &str) -> Result<Self, NotAJoinToken> {
        let text = text.trim();
        if text.len() > MAX_LENGTH {
            return Err(NotAJoinToken);
        }
        // The body is base64url and may itself hold underscores; the checksum may not.
        let (body, sum) = text.rsplit_once('_').ok_or(NotAJoinToken)?;
        if !constant_time_eq(checksum(body).as_bytes(), sum.as_bytes()) {
            return Err(NotAJoinToken);
        }
        let json = body.strip_prefix(PREFIX).ok_or(NotAJoinToken)?;
        let json = URL_SAFE_NO_PAD.decode(json).map_err(|_| NotAJoinToken)?;
        let wire: Wire = serde_json::from_slice(&json).map_err(|_| NotAJoinToken)?;
        if wire.v != 1 || wire.id.is_empty() || wire.secret.len() != 43 {
            return Err(NotAJoinToken);
        }
        Ok(Self {
            url: wire.url,
            root_sha256: hash(&wire.root)?,
            log_key_sha256: hash(&wire.log)?,
            region_id: wire.region,
            id: wire.id,
            secret: SecretString::from(wire.secret),
        })
    }

    /// `host:port` of the URL.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("https://").trim_end_matches('/')
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("url", &self.url)
            .field("region", &self.region_id)
            .field("id", &self.id)
            .finish()
    }
}

fn hash(text: &str) -> Result<[u8; 32], NotAJoinToken> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(NotAJoinToken)
}

/// Eight hexadecimal digits of SHA-256: finds damage in copying, protects nothing.
fn checksum(text: &str) -> String {
    sha256(text.as_bytes())[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            url: "https://localhost:7444".into(),
            root_sha256: [1; 32],
            log_key_sha256: [255; 32],
            region_id: "reg-abcdefghijkl".into(),
            id: "abc".into(),
            secret: SecretString::from("s".repeat(43)),
        }
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let text = token().encode();
        let read = JoinToken::parse(&format!("{}\n", text.expose_secret())).expect("own form");
        assert_eq!((read.root_sha256, read.log_key_sha256), ([1; 32], [255; 32]));
        assert_eq!((read.address(), read.id.as_str()), ("localhost:7444", "abc"));
        assert_eq!(read.secret.expose_secret(), "s".repeat(43));
        assert!(!format!("{read:?}").contains("sss"));
    }

    proptest! {
        #[test]
        fn a_damaged_token_is_noticed(at in 0usize..300, to in 33u8..127) {
            let text = token().encode().expose_secret().to_owned();
            prop_assume!(at < text.len() && text.as_bytes()[at] != to);
            let mut bytes = text.into_bytes();
            bytes[at] = to;
            prop_assert!(JoinToken::parse(&String::from_utf8(bytes).expect("ASCII")).is_err());
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC{0,200}") {
            prop_assert!(JoinToken::parse(&text).is_err());
        }
    }
}
