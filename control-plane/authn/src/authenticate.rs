//! From request headers to an actor.
//!
//! Must never distinguish, towards the caller, an unknown key from an expired one.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use palladium_control_store::{Error as StoreError, Store};
use palladium_kinds::{Grant, OrganizationId, Timestamp};
use palladium_sealing::{constant_time_eq, token_digest};

use crate::key::ApiKeyToken;

const KEY_HEADER: &str = "x-diagrid-api-key";
const ORGANIZATION_HEADER: &str = "x-diagrid-orgid";

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Id of the key.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its organization.
    pub organization: OrganizationId,
    /// What it may.
    pub grant: Grant,
    /// When the key ends.
    pub expires_at: Option<Timestamp>,
}

/// Why nobody was recognized. For the audit log; the caller hears only "401".
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No credential was sent.
    #[error("no credential")]
    Missing,
    /// Two that differ, more than one header, or not a key at all.
    #[error("malformed credential")]
    Malformed,
    /// No such key: never was, or revoked.
    #[error("unknown or revoked key")]
    Unknown,
    /// The key has ended.
    #[error("expired key")]
    Expired,
    /// The named organization is not the key's.
    #[error("key of another organization")]
    Organization,
    /// The database cannot answer; nobody is let in meanwhile.
    #[error(transparent)]
    Store(StoreError),
}

/// Recognizes callers. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator {
    store: Store,
}

impl Authenticator {
    /// Over the keys in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The caller that these headers prove.
    ///
    /// # Errors
    /// [`Refusal`]; all of them are a 401 to the caller, but for a store that does not answer.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let token = credential(headers)?;
        if !ApiKeyToken::is_well_formed(token) {
            return Err(Refusal::Malformed);
        }
        let digest = token_digest(token);
        let key = self
            .store
            .key_by_digest(&digest)
            .await
            .map_err(Refusal::Store)?
            .ok_or(Refusal::Unknown)?;
        if !constant_time_eq(&digest, &key.token_sha256) {
            return Err(Refusal::Unknown);
        }
        // At the very millisecond of its end a key is already over; nobody's clock is given credit.
        if key.expires_at.is_some_and(|end| Timestamp::now() >= end) {
            return Err(Refusal::Expired);
        }
        if let Some(named) = headers.get(ORGANIZATION_HEADER)
            && named.as_bytes() != key.organization.as_str().as_bytes()
        {
            return Err(Refusal::Organization);
        }
        Ok(Caller {
            id: key.id,
            name: key.name,
            organization: key.organization,
            grant: key.grant,
            expires_at: key.expires_at,
        })
    }
}

/// The one credential in the headers.
fn credential(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut found: Option<&str> = None;
    let keys = headers.get_all(KEY_HEADER).iter().map(|value| value.to_str().ok());
    let bearers = headers
        .get_all(AUTHORIZATION)
        .iter()
        .map(|value| value.to_str().ok().and_then(bearer));
    for candidate in keys.chain(bearers) {
        let candidate = candidate
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .ok_or(Refusal::Malformed)?;
        match found {
            // Two different ones: somebody in between added one. Neither counts.
            Some(first) if !constant_time_eq(first.as_bytes(), candidate.as_bytes()) => return Err(Refusal::Malformed),
            _ => found = Some(candidate),
        }
    }
    found.ok_or(Refusal::Missing)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

#[cfg(test)]
mod tests;
