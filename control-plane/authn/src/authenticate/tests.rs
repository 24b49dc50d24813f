//! Keys that are let in and keys that are not.

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
