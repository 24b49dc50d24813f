//! App ID tokens: minted here, kept here; everybody else has digests.
//!
//! The one idea: the tokens of an App ID follow from two numbers of its spec: the revision that the current token is for,
//! and the lowest one that still counts. Asking twice changes nothing. Must never log or hand out a token but by
//! [`Tokens::current`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use palladium_kinds::Timestamp;
use palladium_kinds::app_identity::TokenStatus;
use palladium_launch::app_token;
use palladium_proto::region::TokenDigest;
use palladium_sealing::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::Error;
use crate::vault::Vault;

#[derive(Clone)]
struct Token {
    revision: u64,
    created_ms: i64,
    /// End of the overlap; 0 = none.
    not_after_ms: i64,
    /// The highest `minimum` that was asked for when this was written.
    minimum: u64,
    value: SecretString,
}

/// On disk, inside a wrapped file.
#[derive(Serialize, Deserialize, Zeroize)]
#[zeroize(drop)]
struct Stored {
    revision: u64,
    created_ms: i64,
    not_after_ms: i64,
    #[serde(default)]
    minimum: u64,
    value: String,
}

/// What changed, for the audit log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) minted: bool,
    pub(crate) revoked: usize,
    pub(crate) expired: usize,
}

impl Change {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// All tokens by the uid of their App ID.
pub(crate) struct Tokens {
    vault: Vault,
    overlap_ms: i64,
    apps: Mutex<HashMap<String, Vec<Token>>>,
}

impl Tokens {
    /// Reads all. Blocks on local disk.
    pub(crate) fn open(vault: Vault, overlap_seconds: u32) -> Result<Self, Error> {
        let mut apps = HashMap::new();
        for (uid, stored) in vault.read_all::<Vec<Stored>>()? {
            let tokens = stored.iter().map(|one| Token {
                revision: one.revision,
                created_ms: one.created_ms,
                not_after_ms: one.not_after_ms,
                minimum: one.minimum,
                value: SecretString::from(one.value.clone()),
            });
            apps.insert(uid, tokens.collect());
        }
        Ok(Self {
            vault,
            overlap_ms: i64::from(overlap_seconds) * 1000,
            apps: Mutex::new(apps),
        })
    }

    fn apps(&self) -> MutexGuard<'_, HashMap<String, Vec<Token>>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the tokens what the spec asks for. Both numbers only grow: an older spec, from a control plane that was restored
    /// from a backup, neither rotates a token nor brings a revoked one back. Blocks on local disk when something changes.
    pub(crate) fn ensure(&self, uid: &str, revision: u64, minimum: u64, now_ms: i64) -> Result<Change, Error> {
        let mut apps = self.apps();
        let mut tokens = apps.get(uid).cloned().unwrap_or_default();
        let mut change = Change::default();
        let known = tokens.iter().map(|token| token.minimum).max().unwrap_or_default();
        let minimum = minimum.max(known);
        let highest = tokens.iter().map(|token| token.revision).max().unwrap_or_default();
        let revision = revision.max(highest).max(minimum);
        let before = tokens.len();
        tokens.retain(|token| token.revision >= minimum);
        change.revoked = before - tokens.len();
        let before = tokens.len();
        tokens.retain(|token| token.not_after_ms == 0 || token.not_after_ms > now_ms);
        change.expired = before - tokens.len();
        if !tokens
            .iter()
            .any(|token| token.revision == revision && token.not_after_ms == 0)
        {
            for token in tokens.iter_mut().filter(|token| token.not_after_ms == 0) {
                token.not_after_ms = now_ms + self.overlap_ms;
            }
            tokens.push(Token {
                revision,
                created_ms: now_ms,
                not_after_ms: 0,
                minimum,
                value: app_token::mint()?,
            });
            change.minted = true;
        }
        if !change.is_none() || minimum > known {
            tokens.iter_mut().for_each(|token| token.minimum = minimum);
            // Disk first: a token that a restart would forget must not be handed out.
            let stored: Vec<Stored> = tokens.iter().map(Stored::from).collect();
            self.vault.write(uid, &stored)?;
            apps.insert(uid.to_owned(), tokens);
        }
        Ok(change)
    }

    /// What gateways and the Dapr Server may know.
    pub(crate) fn digests(&self, uid: &str) -> Vec<TokenDigest> {
        let digest = |token: &Token| TokenDigest {
            sha256: bytes::Bytes::copy_from_slice(&app_token::digest(token.value.expose_secret().as_bytes())),
            // Rounded up: the overlap is a promise.
            not_after_unix_s: token.not_after_ms.div_euclid(1000) + i64::from(token.not_after_ms.rem_euclid(1000) > 0),
        };
        self.apps()
            .get(uid)
            .map(|tokens| tokens.iter().map(digest).collect())
            .unwrap_or_default()
    }

    /// The token to use from now on.
    pub(crate) fn current(&self, uid: &str) -> Option<SecretString> {
        let apps = self.apps();
        apps.get(uid)?
            .iter()
            .find(|token| token.not_after_ms == 0)
            .map(|token| token.value.clone())
    }

    /// What status shows.
    pub(crate) fn status(&self, uid: &str) -> Vec<TokenStatus> {
        let status = |token: &Token| TokenStatus {
            id: app_token::id(token.value.expose_secret())
                .unwrap_or_default()
                .to_owned(),
            revision: token.revision,
            created_at: Timestamp::from_unix_millis(token.created_ms),
            not_after: (token.not_after_ms != 0).then(|| Timestamp::from_unix_millis(token.not_after_ms)),
        };
        self.apps()
            .get(uid)
            .map(|tokens| tokens.iter().map(status).collect())
            .unwrap_or_default()
    }

    /// When the next overlap ends, milliseconds since 1970.
    pub(crate) fn next_end(&self) -> Option<i64> {
        self.apps()
            .values()
            .flatten()
            .map(|token| token.not_after_ms)
            .filter(|end| *end != 0)
            .min()
    }

    /// Forgets an App ID's tokens. Blocks on local disk.
    pub(crate) fn forget(&self, uid: &str) -> Result<(), Error> {
        self.vault.remove(uid)?;
        self.apps().remove(uid);
        Ok(())
    }
}

impl From<&Token> for Stored {
    fn from(token: &Token) -> Self {
        Self {
            revision: token.revision,
            created_ms: token.created_ms,
            not_after_ms: token.not_after_ms,
            minimum: token.minimum,
            value: token.value.expose_secret().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
