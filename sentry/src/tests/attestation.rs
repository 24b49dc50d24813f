//! Attestations that must not be believed.

use serde_json::json;
use tonic::Code;

use crate::attest::Attested;

use super::zone::{APP, AttestorKey, Zone, csr, now, request};

#[tokio::test]
async fn sec_021_a_replayed_attestation_is_denied() {
    let zone = Zone::start(|_| {}).await;
    let token = zone.attestation(APP);
    zone.call_token(APP, &token).await.expect("the first time");
    let refused = zone.call_token(APP, &token).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("used before"), "{}", refused.message());
    assert!(
        zone.journal_says(&["\"event\":\"refused\"", "used before", "prj-abc/orders"])
            .await
    );
    assert!(!zone.journal().contains(&token), "the journal holds no tokens");
}

#[tokio::test]
async fn sec_021_wrong_claims_keys_and_paths_are_denied() {
    let zone = Zone::start(|_| {}).await;
    let bent = |bend: &dyn Fn(&mut serde_json::Value)| {
        let mut claims = zone.claims(APP);
        bend(&mut claims);
        zone.agent.sign(&claims)
    };
    let long_ago = now() - 3600.0;
    for (why, token) in [
        (
            "expired",
            bent(&|c| (c["iat"], c["exp"]) = (json!(now() - 60.0), json!(now() - 1.0))),
        ),
        (
            "older than the start",
            bent(&|c| (c["iat"], c["exp"]) = (json!(now() - 50.0), json!(now() + 5.0))),
        ),
        (
            "long ago",
            bent(&|c| (c["iat"], c["exp"]) = (json!(long_ago), json!(long_ago + 60.0))),
        ),
        ("too long a life", bent(&|c| c["exp"] = json!(now() + 61.0))),
        ("a life without end", bent(&|c| c["exp"] = json!(1e300))),
        (
            "from the future",
            bent(&|c| (c["iat"], c["exp"]) = (json!(now() + 30.0), json!(now() + 60.0))),
        ),
        (
            "another audience",
            bent(&|c| c["aud"] = json!(["spiffe://reg-test.palladium.internal/ns/palladium/agent"])),
        ),
        ("two audiences", bent(&|c| c["aud"] = json!([c["aud"][0], "x"]))),
        ("no audience", bent(&|c| drop(c.as_object_mut().unwrap().remove("aud")))),
        ("no expiry", bent(&|c| drop(c.as_object_mut().unwrap().remove("exp")))),
        ("no id", bent(&|c| drop(c.as_object_mut().unwrap().remove("jti")))),
        ("a short id", bent(&|c| c["jti"] = json!("1234"))),
        (
            "another trust domain",
            bent(&|c| c["sub"] = json!("spiffe://other/ns/prj-abc/orders")),
        ),
        (
            "another application",
            bent(&|c| c["sub"] = json!("spiffe://reg-test.palladium.internal/ns/prj-abc/other")),
        ),
        ("not a SPIFFE ID", bent(&|c| c["sub"] = json!("orders"))),
        ("an unknown key", AttestorKey::generate().sign(&zone.claims(APP))),
        (
            "the platform's attestor for an application",
            zone.supervisor.sign(&zone.claims(APP)),
        ),
        ("not a token", "x".to_owned()),
        ("too large", "x".repeat(10_000)),
        ("nothing", String::new()),
    ] {
        let refused = zone.call_token(APP, &token).await.expect_err(why);
        assert_eq!(refused.code(), Code::PermissionDenied, "{why}: {}", refused.message());
    }
    zone.call_token(APP, &bent(&|_| {})).await.expect("the unbent one");
}

#[tokio::test]
async fn sec_021_the_agents_key_attests_no_platform_role() {
    let zone = Zone::start(|_| {}).await;
    let path = "/ns/palladium/gateway";
    let refused = zone
        .call_token(path, &zone.agent.sign(&zone.claims(path)))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    zone.call_token(path, &zone.supervisor.sign(&zone.claims(path)))
        .await
        .expect("the supervisor's does");
    // Sentry's own name is given to nobody.
    let path = "/ns/palladium/dapr-sentry";
    let refused = zone
        .call_token(path, &zone.supervisor.sign(&zone.claims(path)))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn sec_012_headers_and_algorithms_that_invite_belief_are_denied() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let zone = Zone::start(|_| {}).await;
    let good = zone.attestation(APP);
    let (_, rest) = good.split_once('.').unwrap();
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256"}),
        json!({"alg": "EdDSA"}),
        json!({"alg": "ES256", "jku": "https://evil/keys"}),
        json!({"alg": "ES256", "jwk": {}}),
        json!({"alg": "ES256", "x5u": "https://evil/"}),
        json!({"alg": "ES256", "crit": ["b64"], "b64": false}),
        json!({"alg": "ES256", "typ": "at+jwt"}),
    ] {
        let token = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()));
        assert_eq!(
            zone.call_token(APP, &token).await.unwrap_err().code(),
            Code::PermissionDenied,
            "{header}"
        );
    }
    let json_form = json!({"payload": rest, "signatures": []}).to_string();
    assert_eq!(
        zone.call_token(APP, &json_form).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

#[test]
fn sec_021_an_svid_that_ran_out_since_the_handshake_renews_nothing() {
    use time::OffsetDateTime;
    let now = OffsetDateTime::now_utc();
    let peer = |ends: i64| palladium_tls::Peer {
        id: palladium_spiffe::SpiffeId::parse("spiffe://reg-test.palladium.internal/ns/prj-abc/orders").unwrap(),
        not_before: now.unix_timestamp() - 3600,
        not_after: now.unix_timestamp() + ends,
    };
    assert!(Attested::by_svid(Some(&peer(1)), now).is_ok());
    assert!(Attested::by_svid(Some(&peer(-1)), now).is_err());
    assert!(Attested::by_svid(None, now).is_err());
}

#[tokio::test]
async fn an_attestation_from_before_a_restart_is_denied_after_it() {
    let zone = Zone::start(|_| {}).await;
    let token = zone.attestation(APP);
    zone.shutdown.trigger();
    tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while palladium_tasks::ReadyFile::read(&zone.config.data_folder).is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("stopped");
    let mut again = Zone::prepare(|_| {});
    again.config = zone.config.clone();
    // The old listener may take a moment to go.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    again.run().await;
    let refused = again.call(request(APP, &token, &csr(|_| {}))).await.unwrap_err();
    assert!(
        refused.message().contains("older than this Sentry's start"),
        "{}",
        refused.message()
    );
    again
        .call(request(APP, &zone.attestation(APP), &csr(|_| {})))
        .await
        .expect("the old keys still serve");
}
