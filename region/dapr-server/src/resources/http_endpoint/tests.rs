//! What is read of an HTTPEndpoint, and that nothing of it is shown.

use serde_json::json;

use super::*;

fn read(document: Value) -> Result<Option<HttpEndpoint>, String> {
    let env = |name: &str| (name == "KEY").then(|| "from-env".to_owned());
    HttpEndpoint::read(document, "app", "ns", References::Environment(&env))
}

fn declared(spec: Value) -> HttpEndpoint {
    let document = json!({"metadata": {"name": "site"}, "auth": {"secretStore": "vault"}, "spec": spec});
    read(document).expect("well formed").expect("in scope")
}

fn header<'a>(endpoint: &'a HttpEndpoint, name: &str) -> Option<&'a str> {
    let found = endpoint.headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.expose_secret())
}

#[test]
fn values_come_from_the_document_the_environment_and_secret_stores() {
    let mut endpoint = declared(json!({
        "version": "v1alpha1",
        "baseURL": "HTTPS://Example.com:8443/base/",
        "headers": [
            {"name": "X-Number", "value": 7},
            {"name": "X-Env", "envRef": "KEY"},
            {"name": "X-Secret", "secretKeyRef": {"name": "s", "key": "k"}},
            {"name": "Connection", "value": "close"},
            {"name": "Host", "value": "other"},
        ],
        "clientTLS": {
            "rootCA": {"value": "-----BEGIN"},
            "privateKey": {"secretKeyRef": {"name": "tls"}},
            "renegotiation": "Never",
        },
    }));
    assert_eq!(endpoint.base.to_string(), "https://example.com:8443/base");
    assert_eq!(header(&endpoint, "x-number"), Some("7"));
    assert_eq!(header(&endpoint, "x-env"), Some("from-env"));
    assert_eq!(
        (header(&endpoint, "connection"), header(&endpoint, "host")),
        (None, None)
    );
    assert!(endpoint.root_ca.is_some() && endpoint.private_key.is_none());
    let references = endpoint.take_references();
    let wanted: Vec<_> = references
        .iter()
        .map(|(part, one)| (part.to_string(), &*one.secret, &*one.key))
        .collect();
    assert_eq!(
        wanted,
        [
            ("header x-secret".to_owned(), "s", "k"),
            ("clientTLS.privateKey".to_owned(), "tls", "tls"),
        ]
    );
    let before = endpoint.fingerprint();
    endpoint.fill(Part::PrivateKey, "key".to_owned());
    assert!(endpoint.private_key.is_some() && endpoint.fingerprint() != before);
    assert_eq!(endpoint.unusable, None);
}

#[test]
fn who_it_is_for_and_what_it_must_be() {
    let document = |name: &str, namespace: &str, scopes: Value, spec: Value| json!({"metadata": {"name": name, "namespace": namespace}, "scopes": scopes, "spec": spec});
    let spec = || json!({"baseUrl": "http://h"});
    assert!(
        read(document("a", "ns", json!(["app"]), spec()))
            .expect("fine")
            .is_some()
    );
    assert!(
        read(document("a", "other", json!(null), spec()))
            .expect("fine")
            .is_none()
    );
    assert!(
        read(document("a", "", json!(["somebody"]), spec()))
            .expect("fine")
            .is_none()
    );
    for bad in [
        json!({"baseUrl": "ftp://h"}),
        json!({"baseUrl": "http:h"}),
        json!({"baseUrl": "http://h/?a=1"}),
        json!({"baseUrl": "http://h/#a"}),
        json!({"baseUrl": "http://a\\b"}),
        json!({"baseUrl": "http:// h"}),
        json!({}),
        json!({"baseUrl": "http://h", "headers": [{"name": "a b", "value": "x"}]}),
        json!({"baseUrl": "https://h", "clientTLS": {"renegotiation": "Always"}}),
    ] {
        assert!(read(document("a", "", json!(null), bad.clone())).is_err(), "{bad}");
    }
    assert!(read(document("", "", json!(null), spec())).is_err());
}

#[test]
fn what_cannot_be_had_makes_it_unusable() {
    let document = json!({"metadata": {"name": "site"}, "spec": {
        "baseUrl": "http://h", "headers": [{"name": "x", "secretKeyRef": {"name": "s", "key": "k"}}],
    }});
    let endpoint = read(document).expect("well formed").expect("in scope");
    assert!(
        endpoint
            .unusable
            .expect("no secret store")
            .starts_with("header x: secret \"s\"")
    );
}

#[test]
fn sec_066_nothing_shows_what_an_endpoint_is_called_with() {
    let endpoint = declared(json!({
        "baseUrl": "https://user:p%40ss-word@h:1/x",
        "headers": [{"name": "x-key", "value": "correct-horse"}],
        "clientTLS": {"certificate": {"value": "cert-text"}, "privateKey": {"value": "key-text"}},
    }));
    let shown = format!("{endpoint:?} {}", endpoint.base);
    for secret in ["horse", "ss-word", "cert-text", "key-text", "dXNlcj"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    assert_eq!(header(&endpoint, "authorization"), Some("Basic dXNlcjpwQHNzLXdvcmQ="));
    let error = read(json!({"metadata": {"name": "a"}, "spec": {"baseUrl": "http://h", "headers": "horse"}}));
    assert!(!error.expect_err("no list").contains("horse"));
    let error = read(json!({"metadata": {"name": "a"}, "spec": {"baseUrl": "http://u:horse@h/?q"}}));
    assert!(!error.expect_err("a query").contains("horse"));
}
