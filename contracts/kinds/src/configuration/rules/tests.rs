//! What a configuration may not say, and how that is told.

use serde_json::{Value, json};

use crate::configuration::KIND;

fn complaint(spec: Value) -> String {
    (KIND.normalize)(json!({ "spec": spec })).map_or_else(|errors| errors.to_string(), |_| String::new())
}

fn policy(policy: Value) -> String {
    complaint(json!({ "accessControl": { "defaultAction": "deny", "policies": [policy] } }))
}

#[test]
fn sec_142_what_belongs_to_the_platform_is_refused_by_name() {
    for (field, value) in [
        ("mtls", json!({ "enabled": false })),
        ("mtls", json!({ "enabled": true })),
        ("mtls", json!({})),
        (
            "nameResolution",
            json!({ "component": "sqlite", "configuration": { "connectionString": "/etc/x" } }),
        ),
    ] {
        let said = complaint(json!({ field: value }));
        assert!(
            said.starts_with(&format!("spec.{field}: belongs to the platform")),
            "{said}"
        );
    }
    assert!(complaint(json!({ "hostPath": "/" })).contains("spec.hostPath: unknown field"));
}

#[test]
fn sec_071_a_word_that_decides_nothing_is_no_access_rule() {
    let operation = |operation: Value| policy(json!({ "appId": "a", "operations": [operation] }));
    assert_eq!(
        operation(json!({ "name": "/orders/*", "httpVerb": ["GET", "*"], "action": "allow" })),
        ""
    );
    assert_eq!(operation(json!({ "name": "*", "action": "deny" })), "");
    for (bad, part) in [
        (json!({ "name": "/a", "action": "Deny" }), "action"),
        (json!({ "name": "/a", "action": "" }), "action"),
        (
            json!({ "name": "/a", "httpVerb": ["get"], "action": "deny" }),
            "httpVerb",
        ),
        (json!({ "name": "/a/../b", "action": "deny" }), "name"),
        (json!({ "name": "/a//b", "action": "deny" }), "name"),
        (json!({ "name": "/a%2fb", "action": "deny" }), "name"),
        (json!({ "name": "", "action": "deny" }), "name"),
    ] {
        let said = operation(bad);
        let field = format!("spec.accessControl.policies[0].operations[0].{part}: ");
        assert!(said.starts_with(&field), "{said}");
    }
    assert!(policy(json!({ "appId": "a b" })).contains("policies[0].appId"));
    assert!(complaint(json!({ "accessControl": { "defaultAction": "none" } })).contains("defaultAction"));
    for second in [json!({ "appId": "A" }), json!({ "appId": "a", "namespace": "default" })] {
        let twice = json!({ "accessControl": { "policies": [{ "appId": "a" }, second] } });
        assert!(complaint(twice).contains("has a policy already"));
    }
    assert!(
        complaint(json!({ "api": { "denied": [{ "name": "sate", "version": "v1" }] } }))
            .contains("spec.api.denied[0].name")
    );
}

#[test]
fn tracing_goes_to_addresses_without_credentials() {
    let otel = |address: &str| json!({ "tracing": { "samplingRate": 1, "otel": { "protocol": "grpc", "endpointAddress": address } } });
    for good in ["collector:4317", "https://collector:4318/v1/traces", "10.0.0.1:4317"] {
        assert_eq!(complaint(otel(good)), "", "{good}");
    }
    for bad in [
        "",
        "user:password@collector:4317",
        "file:///etc/passwd",
        "a b:1",
        "unix:///x",
    ] {
        assert!(
            complaint(otel(bad)).contains("spec.tracing.otel.endpointAddress"),
            "{bad}"
        );
    }
    assert!(complaint(json!({ "tracing": { "samplingRate": "2" } })).contains("samplingRate"));
    let zipkin = json!({ "tracing": { "zipkin": { "endpointAddress": "zipkin:9411" } } });
    assert!(complaint(zipkin).contains("spec.tracing.zipkin.endpointAddress"));
}

#[test]
fn secrets_and_metrics_and_retention_make_sense() {
    let scope = json!({ "storeName": "vault", "allowedSecrets": ["a"], "deniedSecrets": ["a"] });
    assert!(complaint(json!({ "secrets": { "scopes": [scope] } })).contains("deniedSecrets"));
    assert!(complaint(json!({ "metrics": { "latencyDistributionBuckets": [5, 1] } })).contains("growing"));
    for (label, is_refused) in [("app_id", true), ("namespace", true), ("path", false)] {
        let labels = json!([{ "name": label, "regex": { "x": "a" } }]);
        for field in ["metric", "metrics"] {
            let said = complaint(json!({ field: { "rules": [{ "name": "m", "labels": labels }] } }));
            let reason = format!("spec.{field}.rules[0].labels.name: {label:?} says whose metrics these are");
            assert_eq!(said.starts_with(&reason), is_refused, "{label}: {said}");
            assert_eq!(said.is_empty(), !is_refused, "{label}: {said}");
        }
    }
    let kept = json!({ "workflow": { "stateRetentionPolicy": { "completed": "3 days" } } });
    assert!(complaint(kept).contains("spec.workflow.stateRetentionPolicy.completed"));
    let handler = json!({ "httpPipeline": { "handlers": [{ "name": "x", "type": "state.redis" }] } });
    assert!(complaint(handler).contains("spec.httpPipeline.handlers[0].type"));
}
