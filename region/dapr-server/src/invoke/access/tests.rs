//! The order of decisions. Must never ask about a method that is not canonical.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn list(spec: Value, http: bool) -> AccessControl {
    let spec: AccessControlSpec = serde_json::from_value(spec).expect("well formed");
    AccessControl::new(&spec, http).expect("valid").expect("says something")
}

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).expect("valid")
}

fn ask(list: &AccessControl, caller: Option<&str>, method: &str, verb: Option<&str>) -> bool {
    let caller = caller.map(id);
    let question = Question {
        caller: caller.as_ref(),
        method,
        verb,
        proxied: false,
    };
    list.check(&question).is_ok()
}

const APP: &str = "spiffe://public/ns/default/app";

fn policy(default: &str, operations: Value) -> Value {
    json!({ "defaultAction": "deny", "policies": [{
        "appId": "app", "namespace": "default", "trustDomain": "public", "defaultAction": default,
        "operations": operations,
    }] })
}

#[test]
fn nothing_said_is_no_list_and_a_list_without_a_default_denies() {
    let none = |spec: Value| {
        let spec: AccessControlSpec = serde_json::from_value(spec).expect("well formed");
        AccessControl::new(&spec, true).expect("valid").is_none()
    };
    assert!(none(json!({})));
    assert!(none(json!({ "policies": [] })));
    assert!(!ask(
        &list(json!({ "trustDomain": "public" }), true),
        Some(APP),
        "a",
        Some("GET")
    ));
    assert!(ask(
        &list(json!({ "trustDomain": "public", "policies": [] }), true),
        Some(APP),
        "a",
        Some("GET")
    ));
}

#[test]
fn a_policy_must_name_app_namespace_and_trust_domain() {
    let spec: AccessControlSpec = serde_json::from_value(json!({ "policies": [{ "appId": "a" }, {}] })).unwrap();
    let error = AccessControl::new(&spec, true).unwrap_err();
    assert_eq!(
        (error.trust_domain.len(), error.namespace.len(), error.name),
        (2, 2, true)
    );
}

#[test]
fn the_certificate_decides_who_calls() {
    let list = list(policy("allow", json!([])), true);
    assert!(ask(&list, Some(APP), "a", Some("GET")));
    assert!(
        !ask(&list, None, "a", Some("GET")),
        "no certificate: the list's default"
    );
    for other in [
        "spiffe://public/ns/other/app",
        "spiffe://else/ns/default/app",
        "spiffe://public/ns/default/b",
    ] {
        assert!(!ask(&list, Some(other), "a", Some("GET")), "{other}");
    }
}

#[test]
fn verbs_then_the_policys_default_then_the_lists() {
    let operations = json!([{ "name": "/orders", "httpVerb": ["GET", "PUT"], "action": "allow" },
                            { "name": "/any", "httpVerb": ["*"], "action": "deny" }]);
    let with = |default: &str| list(policy(default, operations.clone()), true);
    assert!(ask(&with("deny"), Some(APP), "orders", Some("GET")));
    assert!(
        ask(&with("deny"), Some(APP), "ORDERS", Some("PUT")),
        "case does not matter to HTTP"
    );
    assert!(!ask(&with("deny"), Some(APP), "orders", Some("POST")));
    assert!(ask(&with("allow"), Some(APP), "orders", Some("POST")));
    assert!(!ask(&with("allow"), Some(APP), "any", Some("GET")));
    assert!(!ask(&with(""), Some(APP), "else", Some("GET")));
    assert!(
        !ask(&with(""), Some(APP), "orders", None),
        "no verb: the policy's default, and it has none"
    );
}

#[test]
fn grpc_has_no_verbs_and_minds_case() {
    let list = list(
        policy("deny", json!([{ "name": "/pkg.Svc/Method", "action": "allow" }])),
        false,
    );
    assert!(ask(&list, Some(APP), "/pkg.Svc/Method", None));
    assert!(ask(&list, Some(APP), "pkg.Svc/Method", Some("GET")));
    assert!(!ask(&list, Some(APP), "/pkg.svc/method", None));
}

proptest! {
    // Whatever a caller writes, what is judged is what is called: a denied operation stays denied in every spelling.
    #[test]
    fn sec_054_a_denied_operation_has_no_other_spelling(
        before in "(x/\\.\\./|\\./|/){0,3}", dots in "(/\\.){0,2}", case in any::<bool>()
    ) {
        let list = list(
            json!({ "defaultAction": "allow", "policies": [{
                "appId": "app", "namespace": "default", "trustDomain": "public", "defaultAction": "allow",
                "operations": [{ "name": "/admin", "httpVerb": ["*"], "action": "deny" }] }] }),
            true,
        );
        let admin = if case { "ADMIN" } else { "admin" };
        let written = format!("{before}{admin}{dots}");
        let canonical = crate::invoke::method::canonical(&written).expect("clean");
        prop_assert!(!ask(&list, Some(APP), &canonical, Some("GET")), "{}", canonical);
    }
}
