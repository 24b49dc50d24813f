//! sec_021: join tokens and renewals under attack.

use tonic::Code;

use super::zone::{Keys, REGION, Zone, id, secret, svid};
use crate::join::now_ms;

#[tokio::test]
async fn a_region_joins_by_token_and_comes_back_by_its_own_key() {
    let zone = Zone::start().await;
    let joined = zone.joined(REGION).await;
    assert_eq!(joined.svid.current().unwrap().id(), &id("/ns/region/reg-aaaaaaaaaaaa"));
    assert_eq!(joined.answer.region_trust_domain, "reg-aaaaaaaaaaaa.palladium.internal");
    let (request, key) = joined.keys.renew_now(REGION);
    let renewed = zone.renewing().renew(request).await.unwrap().into_inner();
    assert_eq!(
        svid(&renewed, key).current().unwrap().id(),
        joined.svid.current().unwrap().id()
    );
}

#[tokio::test]
async fn sec_021_replayed_expired_and_foreign_join_tokens_are_refused() {
    let zone = Zone::start().await;
    let token = zone.token(REGION).await;
    let (request, _) = Keys::new().join(&token);
    zone.pinned(&token).join(request.clone()).await.unwrap();
    let replayed = zone.pinned(&token).join(request).await.unwrap_err();
    assert_eq!(replayed.code(), Code::PermissionDenied);

    let expired = zone.token(REGION).await;
    zone.store
        .state()
        .tokens
        .get_mut(&expired.id)
        .unwrap()
        .0
        .expires_at_unix_ms = now_ms() - 1;
    let (request, _) = Keys::new().join(&expired);
    assert_eq!(
        zone.pinned(&expired).join(request).await.unwrap_err().code(),
        Code::PermissionDenied
    );

    // The secret of one region's token with the id of another's.
    let (own, other) = (zone.token(REGION).await, zone.token("reg-bbbbbbbbbbbb").await);
    let (mut request, _) = Keys::new().join(&own);
    request.token_id = other.id.clone();
    assert_eq!(
        zone.pinned(&own).join(request).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let guessed = palladium_stream::JoinToken {
        secret: secret(&"A".repeat(43)),
        ..own.clone()
    };
    let (request, _) = Keys::new().join(&guessed);
    assert_eq!(
        zone.pinned(&own).join(request).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    // A failed guess does not spend the token.
    let (request, _) = Keys::new().join(&own);
    assert!(zone.pinned(&own).join(request).await.is_ok());
    let stored = format!("{:?}", zone.store.state().tokens);
    assert!(!stored.contains(palladium_sealing::ExposeSecret::expose_secret(&own.secret)));
}

#[tokio::test]
async fn sec_021_two_callers_with_one_token_do_not_both_join() {
    let zone = Zone::start().await;
    let token = zone.token(REGION).await;
    let (first, second) = (Keys::new().join(&token).0, Keys::new().join(&token).0);
    let (mut one, mut two) = (zone.pinned(&token), zone.pinned(&token));
    let (one, two) = tokio::join!(one.join(first), two.join(second));
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|joined| **joined).count(), 1);
}

#[tokio::test]
async fn another_root_than_the_tokens_is_told_nothing() {
    let zone = Zone::start().await;
    let mut token = zone.token(REGION).await;
    token.root_sha256[0] ^= 1;
    let (request, _) = Keys::new().join(&token);
    assert_eq!(
        zone.pinned(&token).join(request).await.unwrap_err().code(),
        Code::Unavailable
    );
    assert!(zone.store.state().tokens.values().all(|(_, used)| !used));
}

#[tokio::test]
async fn renewals_are_fresh_signed_and_single() {
    let zone = Zone::start().await;
    let joined = zone.joined(REGION).await;
    let denied = async |request| zone.renewing().renew(request).await.unwrap_err().code() == Code::PermissionDenied;
    let (request, _) = joined.keys.renew_now(REGION);
    zone.renewing().renew(request.clone()).await.unwrap();
    assert!(denied(request.clone()).await, "replayed");
    assert!(denied(Keys::new().renew_now(REGION).0).await, "another key");
    assert!(
        denied(joined.keys.renew_now("reg-bbbbbbbbbbbb").0).await,
        "a region that never joined"
    );
    for at in [now_ms() - 6 * 60_000, now_ms() + 6 * 60_000, i64::MIN, i64::MAX] {
        assert!(denied(joined.keys.renew(REGION, at).0).await, "clock says {at}");
    }
    let (mut swapped, _) = joined.keys.renew_now(REGION);
    swapped.csr_pem = request.csr_pem;
    assert!(denied(swapped).await, "another request under the signature");
}

#[tokio::test]
async fn refusals_take_no_room_while_they_are_delayed() {
    let zone = Zone::start().await;
    let joined = zone.joined(REGION).await;
    let token = zone.token(REGION).await;
    let guess = palladium_stream::JoinToken {
        secret: secret(&"A".repeat(43)),
        ..token.clone()
    };
    let began = std::time::Instant::now();
    let guesses: tokio::task::JoinSet<_> = (0..160)
        .map(|_| {
            let (mut client, request) = (zone.pinned(&token), Keys::new().join(&guess).0);
            async move { client.join(request).await.unwrap_err().code() }
        })
        .collect();
    let renewal = async { zone.renewing().renew(joined.keys.renew_now(REGION).0).await };
    let (codes, renewed) = tokio::join!(guesses.join_all(), renewal);
    renewed.unwrap();
    assert!(
        codes
            .iter()
            .all(|code| matches!(code, Code::PermissionDenied | Code::ResourceExhausted))
    );
    // One after the other in rooms of sixteen, the delays alone would take ten times 300 ms.
    assert!(
        began.elapsed() < std::time::Duration::from_millis(2_900),
        "{:?}",
        began.elapsed()
    );
}
