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
mod tests {
    use palladium_control_store::{Mutation, NewApiKey};
    use palladium_kinds::audit_event::{AuditActor, AuditEvent, AuditResource, AuditSource};
    use palladium_kinds::{Role, RoleScope, ids};
    use palladium_sealing::ExposeSecret as _;

    use super::*;

    fn event() -> AuditEvent {
        AuditEvent {
            id: ids::new_uid(),
            sequence: 0,
            occurred_at: Timestamp::now(),
            actor: AuditActor::default(),
            action: "apikeys.create".into(),
            outcome: "success".into(),
            status: 200,
            reason: String::new(),
            resource: AuditResource::default(),
            changes: vec![],
            before_hash: String::new(),
            after_hash: String::new(),
            source: AuditSource::default(),
            count: 1,
        }
    }

    async fn keep(store: &Store, organization: &OrganizationId, expires_at: Option<Timestamp>) -> ApiKeyToken {
        let grant = Grant {
            role: Role::Admin,
            scope: RoleScope::Global,
        };
        let minted = ApiKeyToken::mint(organization, "k", &grant, expires_at);
        let (id, name) = (minted.id.clone(), minted.id.clone());
        let key = NewApiKey {
            id,
            name,
            token_sha256: minted.digest,
            grant,
            created_by: "test".into(),
            expires_at,
        };
        store
            .commit(organization, vec![Mutation::CreateKey(key)], event())
            .await
            .unwrap();
        minted
    }

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn sec_074_a_key_ends_at_its_end_and_revocation_is_immediate() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let organization = store
            .organization_ensure(&OrganizationId::generate(), "o")
            .await
            .unwrap()
            .id;
        let authenticator = Authenticator::new(store.clone());
        let now = Timestamp::now().unix_millis();
        let over = keep(&store, &organization, Some(Timestamp::from_unix_millis(now))).await;
        let soon = keep(&store, &organization, Some(Timestamp::from_unix_millis(now + 60_000))).await;
        keep(&store, &organization, None).await;
        let headers = with(KEY_HEADER, over.token.expose_secret());
        assert!(matches!(
            authenticator.authenticate(&headers).await,
            Err(Refusal::Expired)
        ));
        let headers = with("authorization", &format!("Bearer {}", soon.token.expose_secret()));
        assert_eq!(authenticator.authenticate(&headers).await.unwrap().id, soon.id);
        store
            .commit(&organization, vec![Mutation::DeleteKey { id: soon.id }], event())
            .await
            .unwrap();
        assert!(matches!(
            authenticator.authenticate(&headers).await,
            Err(Refusal::Unknown)
        ));
    }

    #[tokio::test]
    async fn claims_are_never_believed_and_oddities_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let organization = store
            .organization_ensure(&OrganizationId::generate(), "o")
            .await
            .unwrap()
            .id;
        let authenticator = Authenticator::new(store.clone());
        let key = keep(&store, &organization, None).await;
        let forged = ApiKeyToken::mint(
            &organization,
            "k",
            &Grant {
                role: Role::Admin,
                scope: RoleScope::Global,
            },
            None,
        );
        let refused = |headers: HeaderMap| {
            let authenticator = authenticator.clone();
            async move { authenticator.authenticate(&headers).await.unwrap_err() }
        };
        assert!(matches!(
            refused(with(KEY_HEADER, forged.token.expose_secret())).await,
            Refusal::Unknown
        ));
        assert!(matches!(refused(HeaderMap::new()).await, Refusal::Missing));
        assert!(matches!(
            refused(with("authorization", "Basic YTpi")).await,
            Refusal::Malformed
        ));
        let mut both = with(KEY_HEADER, key.token.expose_secret());
        both.insert(
            "authorization",
            format!("Bearer {}", forged.token.expose_secret()).parse().unwrap(),
        );
        assert!(matches!(refused(both).await, Refusal::Malformed));
        let mut foreign = with(KEY_HEADER, key.token.expose_secret());
        foreign.insert(
            ORGANIZATION_HEADER,
            OrganizationId::generate().as_str().parse().unwrap(),
        );
        assert!(matches!(refused(foreign).await, Refusal::Organization));
    }
}
