//! Services outside, called for real.

use std::sync::Mutex;

use palladium_tls::{ALPN_HTTP, Acceptor, PublicCertSource, public_server_config};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::invoke::tests::{Service, post, serve, server, shown};
use crate::invoke::{Outcome, invoke};
use crate::resources::References;

fn declared(name: &str, spec: Value) -> HttpEndpoint {
    let document = json!({"metadata": {"name": name}, "spec": spec});
    let read = HttpEndpoint::read(document, "orders", "prj-a", References::Resolved);
    read.expect("sound").expect("in scope")
}

#[tokio::test]
async fn an_endpoint_is_called_with_what_it_declares_and_nothing_of_the_connection_before() {
    for hosted in [true, false] {
        let (server, service) = (server(hosted), Service::start(&[200]).await);
        let unusable = server.invoke.endpoints.set(vec![declared(
            "site",
            json!({
                "baseUrl": format!("http://{}/base/", service.address),
                "headers": [{"name": "X-Key", "value": "declared"}, {"name": "dapr-api-token", "value": "theirs"}],
            }),
        )]);
        assert_eq!(
            (unusable, server.invoke.endpoints.names()),
            (vec![], vec!["site".to_owned()])
        );
        let headers = [
            ("x-key", "mine"),
            ("x-mine", "1"),
            ("x-hop", "1"),
            ("connection", "x-hop"),
            ("te", "trailers"),
            ("host", "elsewhere"),
            ("dapr-app-id", "site"),
            ("dapr-api-token", "ours"),
            ("dapr-caller-app-id", "somebody"),
            ("dapr_callee-app-id", "somebody"),
        ];
        for target in ["site", "site.prj-a"] {
            let reply = invoke(&server, post(target, "a b/../c", &headers, Body::from("hello"))).await;
            let reply = reply.expect("answered");
            assert!(!reply.headers.contains_key("x-hop") && !reply.headers.contains_key("connection"));
            assert_eq!(shown(reply).await, (200, "answer 1".into()));
            let (asked, body) = service.asked().pop().expect("asked");
            assert_eq!(
                (asked.uri.to_string().as_str(), &body[..]),
                ("/base/c?x=1", &b"hello"[..])
            );
            assert_eq!(asked.headers["host"], service.address.as_str());
            let mut names: Vec<_> = asked.headers.keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(
                names,
                [
                    "content-length",
                    "content-type",
                    "dapr-api-token",
                    "host",
                    "traceparent",
                    "x-key",
                    "x-mine"
                ]
            );
            assert_eq!(
                (&asked.headers["x-key"], &asked.headers["dapr-api-token"]),
                (
                    &HeaderValue::from_static("declared"),
                    &HeaderValue::from_static("theirs"),
                )
            );
        }
        // What is taken back is nobody's name any more.
        server.invoke.endpoints.set(Vec::new());
        assert!(invoke(&server, post("site", "a", &[], Body::Empty)).await.is_err());
    }
}

#[tokio::test]
async fn sec_119_where_tenants_are_no_address_is_called_that_nobody_declared() {
    let service = Service::start(&[200]).await;
    let (hosted, own) = (server(true), server(false));
    let address = format!("http://{}", service.address);
    let refused = invoke(&hosted, post(&address, "a", &[], Body::Empty))
        .await
        .expect_err("refused");
    assert_eq!(refused.fault(&address).status(), 403);
    assert!(service.asked().is_empty());
    let reply = invoke(&own, post(&format!("{address}/base"), "a", &[], Body::Empty))
        .await
        .expect("answered");
    assert_eq!(shown(reply).await.0, 200);
    assert_eq!(service.asked().pop().expect("asked").0.uri, "/base/a?x=1");
    for bad in [
        "http://",
        "https://:1",
        "http://h/?a",
        "http://h/#a",
        "http://a b",
        "http://a:b:c",
    ] {
        let refused = invoke(&own, post(bad, "a", &[], Body::Empty)).await;
        assert!(
            matches!(refused, Err(InvokeError::Endpoint(EndpointError::Address(_)))),
            "{bad}"
        );
    }
    let with = format!("http://user:horse@{}", service.address);
    let error = invoke(&own, post(&with, "a", &[], Body::Empty))
        .await
        .expect_err("refused");
    assert!(!error.to_string().contains("horse"), "{error}");
    assert!(service.asked().is_empty());
}

#[tokio::test]
async fn sec_119_an_answer_that_points_elsewhere_is_not_followed() {
    for status in [301, 302, 307, 308] {
        let statuses: &'static [u16] = match status {
            301 => &[301, 200],
            302 => &[302, 200],
            307 => &[307, 200],
            _ => &[308, 200],
        };
        let (server, service) = (server(false), Service::start(statuses).await);
        let spec = json!({"baseUrl": format!("http://{}", service.address)});
        server.invoke.endpoints.set(vec![declared("site", spec)]);
        let reply = invoke(&server, post("site", "a", &[], Body::Empty))
            .await
            .expect("answered");
        assert_eq!(reply.headers["location"], "/elsewhere");
        assert_eq!(shown(reply).await.0, status);
        assert_eq!(service.asked().len(), 1);
    }
}

#[tokio::test]
async fn sec_066_one_that_lacks_something_is_not_called_and_the_reason_shows_no_value() {
    let (server, service) = (server(true), Service::start(&[200]).await);
    let plain = format!("http://{}", service.address);
    let secure = format!("https://{}", service.address);
    for (name, spec) in [
        (
            "header",
            json!({"baseUrl": plain, "headers": [{"name": "x", "value": "correct\nhorse"}]}),
        ),
        (
            "roots",
            json!({"baseUrl": secure, "clientTLS": {"rootCA": {"value": "correct horse"}}}),
        ),
        (
            "half",
            json!({"baseUrl": secure, "clientTLS": {"certificate": {"value": "correct horse"}}}),
        ),
        (
            "key",
            json!({"baseUrl": secure, "clientTLS": {
                "certificate": {"value": "correct horse"}, "privateKey": {"value": "correct horse"},
            }}),
        ),
        (
            "secret",
            json!({"baseUrl": plain, "headers": [{"name": "x", "secretKeyRef": {"name": "s", "key": "k"}}]}),
        ),
    ] {
        let unusable = server.invoke.endpoints.set(vec![declared(name, spec)]);
        assert_eq!(unusable.first().map(|(name, _)| name.as_str()), Some(name));
        let error = invoke(&server, post(name, "a", &[], Body::Empty))
            .await
            .expect_err("unusable");
        assert!(
            matches!(error, InvokeError::Endpoint(EndpointError::Unusable { .. })),
            "{error:?}"
        );
        assert!(!format!("{error:?} {unusable:?}").contains("horse"), "{error}");
    }
    assert!(service.asked().is_empty());
}

#[tokio::test]
async fn one_that_is_away_says_so_and_one_that_is_the_same_keeps_its_connections() {
    let server = server(true);
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("any port")
        .local_addr()
        .expect("bound");
    let spec = json!({"baseUrl": format!("http://{closed}"), "headers": [{"name": "x", "value": "correct-horse"}]});
    let endpoints = &server.invoke.endpoints;
    endpoints.set(vec![declared("site", spec.clone())]);
    let error = invoke(&server, post("site", "a", &[], Body::Empty))
        .await
        .expect_err("away");
    assert!(
        matches!(error, InvokeError::Endpoint(EndpointError::Unreachable { .. })),
        "{error:?}"
    );
    assert!(error.to_string().starts_with("HTTP endpoint site: "), "{error}");
    let find = |name: &str| match endpoints.find(name, &server.invoke.peers, "prj-a") {
        Ok(Some(Place::Declared(endpoint))) => endpoint,
        _ => panic!("{name}"),
    };
    let first = find("site");
    endpoints.set(vec![
        declared("other", json!({"baseUrl": "http://h"})),
        declared("site", spec.clone()),
    ]);
    assert!(Arc::ptr_eq(&first, &find("site")));
    assert_eq!(endpoints.names(), ["other", "site"]);
    let mut changed = spec;
    changed["headers"][0]["value"] = "another".into();
    endpoints.set(vec![declared("site", changed)]);
    assert!(!Arc::ptr_eq(&first, &find("site")));
    assert!(
        endpoints
            .find("other", &server.invoke.peers, "prj-a")
            .expect("fine")
            .is_none()
    );
    assert_eq!(endpoints.guarded("site", "a"), format!("site:http://{closed}"));
    assert_eq!(endpoints.guarded("http://h", "a"), "http://h/a");
    assert_eq!(endpoints.guarded("app", "a"), "app:a");
}

/// A certificate for `localhost` and the authority that it is under.
fn certified() -> (PublicCert, String) {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().expect("a key")).expect("a root");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &root).expect("a leaf");
    let cert = PublicCert::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes());
    (cert.expect("they belong together"), root.pem())
}

#[tokio::test]
async fn over_tls_the_service_is_verified_by_the_declared_roots_and_http_2_is_spoken() {
    let ((cert, roots), (_, others)) = (certified(), certified());
    let source = PublicCertSource::new();
    source.set(cert);
    let acceptor = Acceptor::public(public_server_config(&source, ALPN_HTTP), Duration::from_secs(5));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("any port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let taken = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(serve(stream, &[200], taken.clone()));
            }
        }
    });
    let server = server(true);
    let spec = |roots: &str| json!({"baseUrl": url, "clientTLS": {"rootCA": {"value": roots}}});
    let unusable = server
        .invoke
        .endpoints
        .set(vec![declared("good", spec(&roots)), declared("bad", spec(&others))]);
    assert_eq!(unusable, []);
    let reply = invoke(&server, post("good", "a", &[], Body::from("hello")))
        .await
        .expect("answered");
    assert!(matches!(reply.outcome, Outcome::Http(status) if status == 200));
    let (parts, body) = asked.lock().expect("no panic").pop().expect("asked");
    assert_eq!((parts.version, &body[..]), (http::Version::HTTP_2, &b"hello"[..]));
    let refused = invoke(&server, post("bad", "a", &[], Body::Empty))
        .await
        .expect_err("not verified");
    assert!(
        matches!(refused, InvokeError::Endpoint(EndpointError::Unreachable { .. })),
        "{refused:?}"
    );
    assert!(asked.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn sec_119_addresses_must_not_lead_to_what_a_machine_is_told_about_itself() {
    for address in [
        "http://169.254.169.254",
        "http://[::ffff:169.254.169.254]/latest",
        "http://0xa9fea9fe",
    ] {
        let unusable = |hosted| {
            let endpoints = &server(hosted).invoke.endpoints;
            endpoints
                .set(vec![declared("about", json!({"baseUrl": address}))])
                .len()
        };
        assert_eq!((unusable(true), unusable(false)), (1, 0), "{address}");
    }
}
