//! API keys over the API.

use http::Method;
use palladium_sealing::token_digest;
use serde_json::{Value, json};

use super::secrets::files_with;
use super::{CRA, Harness};

#[tokio::test]
async fn sec_072_nobody_mints_more_than_they_have() {
    let h = Harness::new().await;
    let own = h.project("own").await;
    let keys = format!("{CRA}/apikeys");
    let scoped = h.key("admin", &own).await;
    let ask = |role: &str, scope: Option<&str>| json!({"name": format!("k-{role}-{}", scope.is_some()), "role": role, "scope": scope});
    assert_eq!(
        h.call(&scoped, Method::POST, &keys, ask("viewer", None)).await.0,
        403,
        "not beyond its project"
    );
    assert_eq!(
        h.call(&scoped, Method::POST, &keys, ask("admin", Some("project:own")))
            .await
            .0,
        201
    );
    for role in ["viewer", "apiConsumer", "apiOperator"] {
        let key = h.key(role, "").await;
        assert_eq!(
            h.call(&key, Method::POST, &keys, ask("viewer", None)).await.0,
            403,
            "{role} mints nothing"
        );
    }
    // Not longer than itself either.
    let (_, short) = h
        .call(
            &h.admin,
            Method::POST,
            &keys,
            json!({"name": "short", "role": "admin", "durationSeconds": 60}),
        )
        .await;
    let short = short["token"].as_str().unwrap();
    for (seconds, expected) in [(json!(30), 201), (json!(3600), 403), (Value::Null, 403)] {
        let body = json!({"name": format!("s{expected}{seconds}").replace("null", "n"), "role": "viewer", "durationSeconds": seconds});
        assert_eq!(h.call(short, Method::POST, &keys, body).await.0, expected, "{seconds}");
    }
}

#[tokio::test]
async fn sec_072_a_name_does_not_tell_what_other_scopes_have() {
    let h = Harness::new().await;
    let keys = format!("{CRA}/apikeys");
    h.project("theirs").await;
    let own = h.key("admin", "default").await;
    let named = |scope: Value| json!({"name": "ci", "role": "viewer", "scope": scope});
    let theirs = h.post(&keys, named(json!("project:theirs"))).await;
    let theirs = theirs["id"].as_str().unwrap();
    let (status, made) = h.call(&own, Method::POST, &keys, named(json!("project:default"))).await;
    assert_eq!(status, 201, "{made}");
    h.post(&keys, named(Value::Null)).await;
    assert_eq!(
        h.call(&own, Method::POST, &keys, named(json!("project:default")))
            .await
            .0,
        409
    );
    // Neither does a refusal; and what a caller may not delete is not meant by a name.
    let other = h
        .call(&own, Method::DELETE, &format!("{keys}/{theirs}"), Value::Null)
        .await;
    assert_eq!(
        other,
        h.call(&own, Method::DELETE, &format!("{keys}/key-none"), Value::Null)
            .await
    );
    assert_eq!(
        h.call(&own, Method::DELETE, &format!("{keys}/ci"), Value::Null).await.0,
        200
    );
    let (status, several) = h
        .call(&h.admin, Method::DELETE, &format!("{keys}/ci"), Value::Null)
        .await;
    assert_eq!(status, 409, "{several}");
    let by_id = format!("{keys}/{theirs}");
    assert_eq!(h.call(&h.admin, Method::DELETE, &by_id, Value::Null).await.0, 200);
    assert_eq!(
        h.call(&h.admin, Method::DELETE, &format!("{keys}/ci"), Value::Null)
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn sec_072_the_last_administrator_stays() {
    let h = Harness::new().await;
    let keys = format!("{CRA}/apikeys");
    assert_eq!(
        h.call(&h.admin, Method::DELETE, &format!("{keys}/admin"), Value::Null)
            .await
            .0,
        409
    );
    // Neither a key that ends nor one for a project only takes its place; and whoever is no administrator is free to go.
    h.post(
        &keys,
        json!({"name": "ending", "role": "admin", "durationSeconds": 3600}),
    )
    .await;
    h.key("admin", "default").await;
    h.post(&keys, json!({"name": "guest", "role": "viewer"})).await;
    for (name, expected) in [("admin", 409), ("guest", 200), ("ending", 200)] {
        let path = format!("{keys}/{name}");
        assert_eq!(
            h.call(&h.admin, Method::DELETE, &path, Value::Null).await.0,
            expected,
            "{name}"
        );
    }
    let second = h.post(&keys, json!({"name": "second", "role": "admin"})).await;
    let second = second["token"].as_str().unwrap();
    assert_eq!(
        h.call(&h.admin, Method::DELETE, &format!("{keys}/admin"), Value::Null)
            .await
            .0,
        200
    );
    assert_eq!(
        h.call(&h.admin, Method::GET, &format!("{CRA}/whoami"), Value::Null)
            .await
            .0,
        401,
        "gone at once"
    );
    assert_eq!(
        h.call(second, Method::GET, &format!("{CRA}/whoami"), Value::Null)
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn sec_073_a_key_is_shown_once_and_kept_as_a_digest() {
    let h = Harness::new().await;
    let keys = format!("{CRA}/apikeys");
    let made = h.post(&keys, json!({"name": "ci", "role": "viewer"})).await;
    let token = made["token"].as_str().unwrap();
    let listed = h.get(&keys).await;
    assert!(listed.to_string().contains("\"ci\"") && !listed.to_string().contains(token));
    let signature = token.rsplit('.').next().unwrap();
    assert!(files_with(&h, token).is_empty() && files_with(&h, signature).is_empty());
    let row = h.store.key_by_digest(&token_digest(token)).await.unwrap().unwrap();
    assert_eq!(row.name, "ci");
    assert!(
        !h.events("")
            .await
            .iter()
            .any(|event| event.to_string().contains(signature))
    );
}

#[tokio::test]
async fn a_key_in_either_header_is_known_and_every_other_credential_is_refused_alike() {
    let h = Harness::new().await;
    let path = format!("{CRA}/whoami");
    let with = |name: &'static str, value: String| {
        http::Request::builder()
            .uri(&path)
            .header(name, value)
            .body(axum::body::Body::empty())
            .unwrap()
    };
    assert_eq!(
        h.send(with("authorization", format!("Bearer {}", h.admin))).await.0,
        200
    );
    let mut bodies = Vec::new();
    for value in [
        "",
        "x",
        "Bearer x",
        "Basic YTpi",
        &format!("{}x", h.admin),
        &h.admin[..h.admin.len() - 1],
    ] {
        for header in ["authorization", "x-diagrid-api-key"] {
            let (status, body) = h.send(with(header, value.to_owned())).await;
            assert_eq!(status, 401);
            bodies.push(body);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "no answer says why");
}
