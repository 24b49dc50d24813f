//! Paths and methods: from the bytes of a request to what an access rule judges and what the application gets.
//!
//! One idea: the whole way is gone with the product's own functions (gateway, routes, target, decoding, canonical form at
//! both ends, access list, the path to the application), and the end of it is read as an application reads a path. What
//! was judged is what is called: that is the one property that all others serve. Must never clean a path for the product.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method};
use palladium_spiffe::SpiffeId;
use serde_json::json;

use crate::invoke::access::{AccessControl, AccessControlSpec, Question};
use crate::invoke::method::{canonical, decode, to_path, without_dots};
use crate::route::{Route, route};
use crate::target::target;
use crate::{gateway_target, invoke};

/// A pattern of an access list, a line feed, and a path (or a method of gRPC).
pub(crate) fn run(input: &[u8]) {
    let at = input.iter().position(|byte| *byte == b'\n');
    let (pattern, path) = at.map_or((&b"/admin"[..], input), |at| (&input[..at], &input[at + 1..]));
    let (Ok(pattern), Ok(path)) = (std::str::from_utf8(pattern), std::str::from_utf8(path)) else {
        return;
    };
    let _ = (gateway_target::host(path), gateway_target::has_token_parameter(path));
    // A caller by gRPC names a method, which nobody decodes.
    called(path, pattern, "a=1&b");
    if let Ok(uri) = PathAndQuery::try_from(path) {
        requested(uri.path(), pattern, uri.query().unwrap_or_default());
    }
}

/// A request by HTTP.
fn requested(path: &str, pattern: &str, query: &str) {
    let clean = without_dots(path);
    assert_eq!(without_dots(&clean), clean, "cleaning twice changes something");
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        let route = route(&method, &clean);
        if let Route::StateGet { store, .. } | Route::SecretGet { store, .. } = &route {
            assert!(
                !store.contains('%') || path.contains("%25"),
                "a name is decoded: {store}"
            );
        }
        assert!(
            route != Route::Shutdown || gateway_target::is_shutdown(path),
            "the gateway lets {path} pass, which stops a Dapr Server"
        );
        let _ = route.group();
    }
    let mut named = HeaderMap::new();
    named.insert(invoke::APP_ID, HeaderValue::from_static("app"));
    for headers in [HeaderMap::new(), named] {
        let Some((id, method)) = target(path, &headers) else {
            continue;
        };
        assert!(
            !id.is_empty() && path.ends_with(&method),
            "the method is the end of the path as it came"
        );
        if let Ok(method) = decode(&method) {
            called(&method, pattern, query);
        }
    }
}

/// A call of a method, from the caller to the application.
fn called(method: &str, pattern: &str, query: &str) {
    let Ok(method) = canonical(method) else {
        return;
    };
    assert_eq!(
        canonical(&method).as_ref(),
        Ok(&method),
        "cleaning twice changes something"
    );
    let parts = method.trim_start_matches('/').split('/');
    let clean =
        parts.clone().all(|part| !matches!(part, "." | "..")) && parts.clone().skip(1).all(|part| !part.is_empty());
    assert!(clean, "{method:?} has more than one reading");

    for (http, denied) in [
        (true, pattern),
        (false, pattern),
        (true, "/admin"),
        (false, "/admin/**"),
    ] {
        let Some(list) = list(denied, http) else { continue };
        let judged = allows(&list, &method);
        let Ok(path) = to_path(&method, query) else {
            // It is not called.
            continue;
        };
        let uri = PathAndQuery::try_from(path.as_str()).expect("a path that can be sent");
        assert_eq!(
            uri.query().unwrap_or_default(),
            query.split('#').next().unwrap_or_default()
        );
        // What an application takes for its path: decoded once, with or without cleaning it.
        let seen = decode(uri.path()).expect("text");
        assert_eq!(
            seen.trim_start_matches('/'),
            method.trim_start_matches('/'),
            "another method is called"
        );
        let cleaned = without_dots(&seen);
        for read in [seen.as_ref(), cleaned.as_ref(), seen.trim_start_matches('/')] {
            assert_eq!(
                allows(&list, read),
                judged,
                "{read:?} is called, {method:?} was judged by {denied:?}"
            );
        }
        let first = seen.trim_start_matches('/').split('/').next();
        if http && denied == "/admin" && first.is_some_and(|first| first.eq_ignore_ascii_case("admin")) {
            assert!(!judged, "{seen:?} is called, and may not");
        }
    }
}

/// A list that denies one pattern and allows everything else.
fn list(denied: &str, http: bool) -> Option<AccessControl> {
    let spec = json!({ "defaultAction": "allow", "policies": [{
        "appId": "app", "namespace": "default", "trustDomain": "public", "defaultAction": "allow",
        "operations": [{ "name": denied, "httpVerb": ["*"], "action": "deny" }] }] });
    let spec: AccessControlSpec = serde_json::from_value(spec).ok()?;
    AccessControl::new(&spec, http).ok()?
}

fn allows(list: &AccessControl, method: &str) -> bool {
    let caller = SpiffeId::parse("spiffe://public/ns/default/app").ok();
    let question = Question {
        caller: caller.as_ref(),
        method,
        verb: Some("GET"),
        proxied: false,
    };
    list.check(&question).is_ok()
}
