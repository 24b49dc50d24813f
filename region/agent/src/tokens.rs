//! App ID tokens: minted here, kept here; everybody else has digests.
//!
//! The one idea: the tokens of an App ID follow from two numbers of its spec: the revision that the current token is for,
//! and the lowest one that still counts. Asking twice changes nothing. Must never log or hand out a token but by
//! [`Tokens::current`].

mod uses;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use palladium_kinds::Timestamp;
use palladium_kinds::app_identity::TokenStatus;
use palladium_launch::app_token;
use palladium_proto::region::{TokenDigest, TokenUse};
use palladium_sealing::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::Error;
use crate::vault::Vault;
use uses::Uses;

#[derive(Clone)]
struct Token {
    revision: u64,
    created_ms: i64,
    /// End of the overlap; 0 = none.
    not_after_ms: i64,
    /// The highest `minimum` that was asked for when this was written.
    minimum: u64,
    value: SecretString,
    /// SHA-256 of the value.
    digest: [u8; 32],
}

impl Token {
    /// Its public part.
    fn id(&self) -> &str {
        app_token::id(self.value.expose_secret()).unwrap_or_default()
    }
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

/// What gateways have seen, for whoever tells it on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Some status shows another last use now.
    pub(crate) news: bool,
    /// Calls at another project's host: uid of the App ID, id of the token, how many.
    pub(crate) foreign_host: Vec<(String, String, u32)>,
}

/// All tokens by the uid of their App ID.
pub(crate) struct Tokens {
    vault: Vault,
    uses: Uses,
    overlap_ms: i64,
    apps: Mutex<HashMap<String, Vec<Token>>>,
}

impl Tokens {
    /// Reads all. Blocks on local disk.
    pub(crate) fn open(vault: Vault, uses: PathBuf, overlap_seconds: u32) -> Result<Self, Error> {
        let mut apps = HashMap::new();
        for (uid, stored) in vault.read_all::<Vec<Stored>>()? {
            let tokens = stored.iter().map(|one| Token {
                revision: one.revision,
                created_ms: one.created_ms,
                not_after_ms: one.not_after_ms,
                minimum: one.minimum,
                digest: app_token::digest(one.value.as_bytes()),
                value: SecretString::from(one.value.clone()),
            });
            apps.insert(uid, tokens.collect());
        }
        Ok(Self {
            vault,
            uses: Uses::open(uses),
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
            let value = app_token::mint()?;
            tokens.push(Token {
                revision,
                created_ms: now_ms,
                not_after_ms: 0,
                minimum,
                digest: app_token::digest(value.expose_secret().as_bytes()),
                value,
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
            sha256: bytes::Bytes::copy_from_slice(&token.digest),
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
    pub(crate) fn status(&self, uid: &str, now_ms: i64) -> Vec<TokenStatus> {
        let status = |token: &Token| TokenStatus {
            id: token.id().to_owned(),
            revision: token.revision,
            created_at: Timestamp::from_unix_millis(token.created_ms),
            not_after: (token.not_after_ms != 0).then(|| Timestamp::from_unix_millis(token.not_after_ms)),
            last_used_at: self
                .uses
                .shown(token.id(), now_ms / 1000)
                .map(|unix_s| Timestamp::from_unix_millis(unix_s * 1000)),
        };
        self.apps()
            .get(uid)
            .map(|tokens| tokens.iter().map(status).collect())
            .unwrap_or_default()
    }

    /// Takes in what a gateway has seen. A gateway is believed about when, not about which: only tokens that are here count.
    /// Blocks on local disk when there is news.
    pub(crate) fn seen(&self, uses: &[TokenUse], now_ms: i64) -> Result<Seen, Error> {
        let uses: HashMap<&[u8], &TokenUse> = uses.iter().map(|one| (one.sha256.as_ref(), one)).collect();
        let (mut seen, mut known) = (Seen::default(), HashSet::new());
        for (uid, token) in self
            .apps()
            .iter()
            .flat_map(|(uid, all)| all.iter().map(move |one| (uid, one)))
        {
            known.insert(token.id().to_owned());
            let Some(one) = uses.get(token.digest.as_slice()) else {
                continue;
            };
            if one.last_used_unix_s > 0 {
                let at = one.last_used_unix_s.min(now_ms / 1000);
                seen.news |= self.uses.note(token.id(), at);
            }
            if one.foreign_host_calls > 0 {
                seen.foreign_host
                    .push((uid.clone(), token.id().to_owned(), one.foreign_host_calls));
            }
        }
        if seen.news {
            self.uses.keep(&known)?;
        }
        Ok(seen)
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
