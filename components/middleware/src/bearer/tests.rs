//! Tokens of an authorization server against the driver.
//!
//! Must never depend on anything outside of this machine.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use palladium_component::Hosting;

use super::*;
use crate::oidc_server::{OidcServer, SigningKey};

async fn opened(server: &OidcServer, more: &[(&str, &str)]) -> Result<Arc<dyn Middleware>, OpenError> {
    let base = [("issuer", server.issuer.as_str()), ("audience", "orders")];
    let fields = base.into_iter().chain(more.iter().copied());
    open(OpenContext::new("signed-in", "app", fields.collect())).await
}

/// Status and challenge; nothing if the request passes.
async fn asked(bearer: &Arc<dyn Middleware>, header: Option<&str>) -> Option<(u16, String)> {
    let mut request = http::Request::get("/x");
    if let Some(header) = header {
        request = request.header(AUTHORIZATION, header);
    }
    let (mut head, ()) = request.body(()).unwrap().into_parts();
    match bearer.judge(&mut head).await.unwrap() {
        Verdict::Answer(answer) => {
            assert_eq!(answer.body(), "Unauthorized");
            let challenge = answer.headers()[WWW_AUTHENTICATE].to_str().unwrap();
            Some((answer.status().as_u16(), challenge.to_owned()))
        }
        Verdict::Pass(_) | Verdict::Watch(_) | Verdict::Revise(..) => None,
    }
}

async fn passes(bearer: &Arc<dyn Middleware>, token: &str) -> bool {
    asked(bearer, Some(&format!("Bearer {token}"))).await.is_none()
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[tokio::test]
async fn tokens_of_an_own_oidc_server_pass_or_not_by_what_they_say() {
    let server = OidcServer::start().await;
    let key = server.room().keys[0].clone();
    let bearer = opened(&server, &[]).await.unwrap();
    let good = server.claims("orders");
    let now = jsonwebtoken::get_current_timestamp();
    let mut endless = good.clone();
    endless.as_object_mut().unwrap().remove("exp");
    for (claims, expected, why) in [
        (good.clone(), true, "good"),
        (
            with(good.clone(), "aud", json!(["others", "orders"])),
            true,
            "one of its audiences",
        ),
        (
            with(good.clone(), "exp", json!(now - 200)),
            true,
            "over, within the tolerance",
        ),
        (
            with(good.clone(), "nbf", json!(now + 200)),
            true,
            "to come, within the tolerance",
        ),
        (with(good.clone(), "exp", json!(now - 400)), false, "over"),
        (with(good.clone(), "nbf", json!(now + 400)), false, "to come"),
        (with(good.clone(), "iat", json!(now + 400)), false, "issued later"),
        (with(good.clone(), "aud", json!("others")), false, "for others"),
        (with(good.clone(), "aud", json!(7)), false, "for a number"),
        (
            with(good.clone(), "iss", json!(format!("{}/", server.issuer))),
            false,
            "of another issuer",
        ),
        (endless, false, "without an end"),
    ] {
        assert_eq!(passes(&bearer, &key.sign(&claims)).await, expected, "{why}");
    }
    let token = key.sign(&good);
    let none = Some((401, "Bearer".to_owned()));
    let bad = Some((401, "Bearer error=\"invalid_token\"".to_owned()));
    assert_eq!(asked(&bearer, None).await, none);
    assert_eq!(asked(&bearer, Some("Basic eDp5")).await, none);
    assert_eq!(asked(&bearer, Some("Bearer ")).await, bad);
    assert_eq!(asked(&bearer, Some(&format!("Bearer {token}x"))).await, bad);
    assert_eq!(
        asked(&bearer, Some(&format!("bEARER {token}"))).await,
        None,
        "whatever the case"
    );
    let (mut head, ()) = http::Request::new(()).into_parts();
    for value in [format!("Bearer {token}"), "Bearer forged".to_owned()] {
        head.headers.append(AUTHORIZATION, value.parse().unwrap());
    }
    let verdict = bearer.judge(&mut head).await.unwrap();
    assert!(
        matches!(verdict, Verdict::Answer(_)),
        "of two, which one would the application read?"
    );
}

#[tokio::test]
async fn algorithms_of_an_own_oidc_server_are_those_of_its_keys() {
    let server = OidcServer::start().await;
    let algorithms = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
    let keys: Vec<SigningKey> = algorithms
        .iter()
        .map(|one| SigningKey::new(*one, &format!("{one:?}")))
        .collect();
    server.room().keys = keys.clone();
    let bearer = opened(&server, &[]).await.unwrap();
    let good = server.claims("orders");
    for key in &keys {
        assert!(
            passes(&bearer, &key.sign(&good)).await,
            "{:?}",
            key.public.common.key_id
        );
    }
    // The public key as the secret of a symmetric algorithm, and a key for something else than its own.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("ES256".to_owned());
    let public = serde_json::to_vec(&keys[1].public).unwrap();
    let forged = jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(&public)).unwrap();
    assert!(!passes(&bearer, &forged).await);
    let mut header = Header::new(Algorithm::PS256);
    header.kid = Some("RS256".to_owned());
    let other = jsonwebtoken::encode(&header, &good, &keys[0].key).unwrap();
    assert!(!passes(&bearer, &other).await, "the key says that it is for RS256");
    let mut header = Header::new(Algorithm::ES256);
    header.crit = Some(vec!["b64".to_owned()]);
    header.kid = Some("ES256".to_owned());
    let critical = jsonwebtoken::encode(&header, &good, &keys[1].key).unwrap();
    assert!(!passes(&bearer, &critical).await);
    let nameless = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &good, &keys[1].key).unwrap();
    assert!(passes(&bearer, &nameless).await, "only one key can be meant");
    server.room().keys.push(SigningKey::new(Algorithm::ES256, "another"));
    let bearer = opened(&server, &[]).await.unwrap();
    assert!(!passes(&bearer, &nameless).await, "two keys can be meant");
}

#[tokio::test]
async fn an_own_oidc_server_is_asked_for_a_new_key_but_seldom() {
    let server = OidcServer::start().await;
    let url = format!("{}/keys", server.issuer);
    let keys = KeySet::fetch(web::client("jwksURL", TIMEOUT, false).unwrap(), url.parse().unwrap())
        .await
        .unwrap();
    let rules = Rules::new(server.issuer.clone(), "orders".to_owned());
    let second = SigningKey::new(Algorithm::ES256, "second");
    let token = second.sign(&server.claims("orders"));
    assert_eq!(rules.check(&token, &keys.now()), Err(Fault::UnknownKey));
    server.room().keys.push(second);
    for _ in 0..10 {
        keys.ask_again().await;
    }
    assert_eq!(server.room().asked_keys, 1, "it was asked a moment ago");
    keys.forget_when().await;
    server.room().broken = Some((StatusCode::OK, "no set".to_owned()));
    keys.ask_again().await;
    assert_eq!(keys.now().keys.len(), 1, "what cannot be read changes nothing");
    server.room().broken = None;
    keys.forget_when().await;
    keys.ask_again().await;
    assert_eq!(rules.check(&token, &keys.now()), Ok(()));
    assert_eq!(server.room().asked_keys, 3);
}

#[tokio::test]
async fn an_issuer_that_cannot_be_used_is_told() {
    let server = OidcServer::start().await;
    let error = async |fields: &[(&str, &str)]| {
        let context = OpenContext::new("b", "app", fields.iter().copied().collect());
        open(context).await.err().expect("it opens").to_string()
    };
    let slash = format!("{}/", server.issuer);
    let told = error(&[("issuer", &slash), ("audience", "a")]).await;
    assert!(told.contains("'issuer'") && told.contains("another one"), "{told}");
    let told = error(&[("issuer", "accounts.example.com"), ("audience", "a")]).await;
    assert!(told.contains("'issuer'") && told.contains("no address"), "{told}");
    let told = error(&[("issuer", &server.issuer)]).await;
    assert!(told.contains("'audience'"), "{told}");
    let elsewhere = format!("{}/none", server.issuer);
    let told = error(&[("issuer", &server.issuer), ("audience", "a"), ("jwksURL", &elsewhere)]).await;
    assert!(told.contains("404"), "{told}");
    server.room().broken = Some((StatusCode::FOUND, String::new()));
    let told = error(&[("issuer", &server.issuer), ("audience", "a")]).await;
    assert!(told.contains("302"), "no redirect is followed: {told}");
}

#[tokio::test]
async fn sec_065_a_discovery_document_leads_a_hosted_driver_nowhere_else() {
    let (server, other) = (OidcServer::start().await, OidcServer::start().await);
    server.room().jwks_uri = Some(format!("{}/keys", other.issuer));
    let open_in = async |hosting: Hosting, more: &[(&str, &str)]| {
        let base = [("issuer", server.issuer.as_str()), ("audience", "orders")];
        let fields = base.into_iter().chain(more.iter().copied());
        let context = OpenContext::new("b", "app", fields.collect());
        open(OpenContext { hosting, ..context }).await
    };
    let hosted = || Hosting::Platform { folder: "/".into() };
    let error = open_in(hosted(), &[]).await.err().unwrap().to_string();
    assert!(error.contains("'jwksURL'"), "{error}");
    assert_eq!(other.room().asked_keys, 0);
    assert!(open_in(Hosting::SelfHosted, &[]).await.is_ok());
    let url = format!("{}/keys", other.issuer);
    assert!(
        open_in(hosted(), &[("jwksURL", &url)]).await.is_ok(),
        "said, so it was looked at"
    );
}
