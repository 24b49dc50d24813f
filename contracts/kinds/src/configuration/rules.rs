//! Defaults and rules of configurations.
//!
//! One idea: a word that Dapr would not understand decides nothing there; in access control and API rules that would be a
//! hole, so it is refused here. Must never accept what belongs to the platform.

use url::Url;

use super::{
    AccessControl, AccessOperation, ApiRule, ConfigurationContent, Metrics, Pipeline, SecretsScope, TRACE_HEADERS,
    Tracing, WorkflowLimits,
};
use crate::component::ComponentStatus;
use crate::definition::Content;
use crate::error::FieldErrors;
use crate::names::NameRule;
use crate::{duration, scopes, values};

/// Most entries of any list.
const ENTRIES_MAX: usize = 1024;
const TEXT_MAX: usize = 512;

/// Groups of the Dapr API that rules can name.
const APIS: &[&str] = &[
    "actors",
    "bindings",
    "configuration",
    "conversation",
    "crypto",
    "healthz",
    "invoke",
    "jobs",
    "lock",
    "metadata",
    "publish",
    "secrets",
    "shutdown",
    "state",
    "subscribe",
    "subtlecrypto",
    "unlock",
    "workflows",
];
const VERBS: &[&str] = &[
    "*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE",
];

impl Content for ConfigurationContent {
    type Status = ComponentStatus;

    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        if let Some(otel) = spec.tracing.as_mut().and_then(|tracing| tracing.otel.as_mut()) {
            for header in &mut otel.headers {
                values::as_text(&mut header.value);
            }
        }
        for policy in spec.access_control.iter_mut().flat_map(|control| &mut control.policies) {
            policy.app_id.make_ascii_lowercase();
        }
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let spec = &self.spec;
        for (field, given) in [
            ("spec.mtls", spec.mtls.is_some()),
            ("spec.nameResolution", spec.name_resolution.is_some()),
        ] {
            if given {
                errors.push(field, "belongs to the platform and cannot be set here", "leave it out");
            }
        }
        if let Some(control) = &spec.access_control {
            check_access(control, errors);
        }
        for (field, pipeline) in [
            ("spec.httpPipeline", &spec.http_pipeline),
            ("spec.appHttpPipeline", &spec.app_http_pipeline),
        ] {
            if let Some(pipeline) = pipeline {
                check_pipeline(field, pipeline, errors);
            }
        }
        if let Some(tracing) = &spec.tracing {
            check_tracing(tracing, errors);
        }
        for (field, metrics) in [("spec.metric", &spec.metric), ("spec.metrics", &spec.metrics)] {
            if let Some(metrics) = metrics {
                check_metrics(field, metrics, errors);
            }
        }
        let secrets = spec.secrets.iter().flat_map(|secrets| &secrets.scopes);
        check_secrets(&secrets.collect::<Vec<_>>(), errors);
        if let Some(api) = &spec.api {
            check_api("spec.api.allowed", &api.allowed, errors);
            check_api("spec.api.denied", &api.denied, errors);
        }
        at_most("spec.features", spec.features.len(), errors);
        for (index, feature) in spec.features.iter().enumerate() {
            is_text(&format!("spec.features[{index}].name"), &feature.name, errors);
        }
        let deny = spec.components.iter().flat_map(|components| &components.deny);
        for (index, kind) in deny.enumerate().take(ENTRIES_MAX) {
            is_text(&format!("spec.components.deny[{index}]"), kind, errors);
        }
        if let Some(workflow) = &spec.workflow {
            check_workflow(workflow, errors);
        }
    }

    fn validate_update(_: &Self, _: &Self, _: &mut FieldErrors) {}
}

fn at_most(field: &str, count: usize, errors: &mut FieldErrors) {
    if count > ENTRIES_MAX {
        errors.push(field, format!("holds more than {ENTRIES_MAX} entries"), "remove some");
    }
}

fn is_text(field: &str, text: &str, errors: &mut FieldErrors) {
    if text.is_empty() || text.len() > TEXT_MAX || text.chars().any(char::is_control) {
        errors.push(
            field,
            "is empty, longer than 512 bytes, or holds control characters",
            "name it",
        );
    }
}

fn is_one_of(field: &str, text: &str, words: &[&str], errors: &mut FieldErrors) {
    if !words.contains(&text) {
        let words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
        errors.push(
            field,
            "is not a word that is known here",
            format!("use {}", words.join(", ")),
        );
    }
}

fn check_access(control: &AccessControl, errors: &mut FieldErrors) {
    const ACTIONS: &[&str] = &["allow", "deny"];
    const ACTIONS_OR_NONE: &[&str] = &["", "allow", "deny"];
    let at = "spec.accessControl";
    is_one_of(
        &format!("{at}.defaultAction"),
        &control.default_action,
        ACTIONS_OR_NONE,
        errors,
    );
    check_domain(&format!("{at}.trustDomain"), &control.trust_domain, errors);
    at_most(&format!("{at}.policies"), control.policies.len(), errors);
    let mut seen = std::collections::BTreeSet::new();
    for (index, policy) in control.policies.iter().enumerate() {
        let at = format!("{at}.policies[{index}]");
        if !scopes::is_app_id(&policy.app_id) {
            errors.push(format!("{at}.appId"), "is not an App ID", "name the App ID that calls");
        }
        if !seen.insert((&policy.app_id, &policy.namespace)) {
            errors.push(
                format!("{at}.appId"),
                "has a policy already, and only one of them would count",
                "put all operations into one",
            );
        }
        is_one_of(
            &format!("{at}.defaultAction"),
            &policy.default_action,
            ACTIONS_OR_NONE,
            errors,
        );
        check_domain(&format!("{at}.trustDomain"), &policy.trust_domain, errors);
        check_domain(&format!("{at}.namespace"), &policy.namespace, errors);
        at_most(&format!("{at}.operations"), policy.operations.len(), errors);
        for (index, operation) in policy.operations.iter().enumerate() {
            let at = format!("{at}.operations[{index}]");
            let AccessOperation {
                name,
                http_verb,
                action,
            } = operation;
            check_operation(&format!("{at}.name"), name, errors);
            is_one_of(&format!("{at}.action"), action, ACTIONS, errors);
            for verb in http_verb.iter().take(ENTRIES_MAX) {
                is_one_of(&format!("{at}.httpVerb"), verb, VERBS, errors);
            }
        }
    }
}

/// The form of a DNS name; empty = the region's.
fn check_domain(field: &str, text: &str, errors: &mut FieldErrors) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if text.len() > 253 || !text.bytes().all(plain) {
        errors.push(field, "is not a name", "leave it out: it is the region's then");
    }
}

/// A path that calls can have: others never match, so that nobody is stopped by them.
fn check_operation(field: &str, name: &str, errors: &mut FieldErrors) {
    let inside = name.strip_prefix('/').unwrap_or(name);
    let clean = inside
        .trim_end_matches('/')
        .split('/')
        .all(|part| !matches!(part, "." | ".."));
    let plain = |b: u8| (0x21..0x7f).contains(&b) && !matches!(b, b'?' | b'#' | b'\\' | b'%');
    if name.is_empty() || name.len() > 1024 || name.contains("//") || !clean || !name.bytes().all(plain) {
        errors.push(
            field,
            "is not a clean path, and would never match",
            "use a path such as /orders or /orders/*, without '..', '//', '?', '#', '%' and blanks",
        );
    }
}

fn check_pipeline(at: &str, pipeline: &Pipeline, errors: &mut FieldErrors) {
    at_most(&format!("{at}.handlers"), pipeline.handlers.len(), errors);
    for (index, handler) in pipeline.handlers.iter().enumerate() {
        let at = format!("{at}.handlers[{index}]");
        if NameRule::Component.canonical(&handler.name).is_err() {
            errors.push(
                format!("{at}.name"),
                "is not the name of a component",
                "name a middleware component of this project",
            );
        }
        if !handler.kind.starts_with("middleware.http.") || handler.kind.len() > 128 {
            errors.push(
                format!("{at}.type"),
                "is not a type of middleware",
                "use a type such as middleware.http.ratelimit",
            );
        }
        for field in handler
            .selector
            .iter()
            .flat_map(|selector| &selector.fields)
            .take(ENTRIES_MAX)
        {
            is_text(&format!("{at}.selector.fields.field"), &field.field, errors);
        }
    }
}

fn check_tracing(tracing: &Tracing, errors: &mut FieldErrors) {
    let rate = tracing.sampling_rate.parse::<f64>();
    if !tracing.sampling_rate.is_empty() && !rate.is_ok_and(|rate| (0.0..=1.0).contains(&rate)) {
        errors.push(
            "spec.tracing.samplingRate",
            "is not a share",
            "use a number from 0 to 1, such as 0.1",
        );
    }
    if let Some(zipkin) = &tracing.zipkin {
        let field = "spec.tracing.zipkin.endpointAddress";
        if !is_endpoint(&zipkin.endpoint_address, true) {
            errors.push(
                field,
                "is not an address of http or https without credentials",
                "use a URL such as http://zipkin:9411/api/v2/spans",
            );
        }
    }
    if let Some(otel) = &tracing.otel {
        let at = "spec.tracing.otel";
        is_one_of(&format!("{at}.protocol"), &otel.protocol, &["grpc", "http"], errors);
        if !is_endpoint(&otel.endpoint_address, false) {
            errors.push(
                format!("{at}.endpointAddress"),
                "is not an address without credentials",
                "use an address such as collector:4317",
            );
        }
        values::check_headers(TRACE_HEADERS, &otel.headers, false, errors);
        duration::check(&format!("{at}.timeout"), &otel.timeout, false, errors);
    }
}

/// `host:port`, or a URL of HTTP.
fn is_endpoint(text: &str, url_only: bool) -> bool {
    let plain = text.len() <= 2048 && text.bytes().all(|b| (0x21..0x7f).contains(&b) && !b"@\\".contains(&b));
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false if url_only => return false,
        false => format!("http://{text}"),
    };
    let url = Url::parse(&whole).ok();
    plain
        && url.is_some_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
        })
}

fn check_metrics(at: &str, metrics: &Metrics, errors: &mut FieldErrors) {
    at_most(&format!("{at}.rules"), metrics.rules.len(), errors);
    for (index, rule) in metrics.rules.iter().enumerate() {
        is_text(&format!("{at}.rules[{index}].name"), &rule.name, errors);
        for label in rule.labels.iter().take(ENTRIES_MAX) {
            is_text(&format!("{at}.rules[{index}].labels.name"), &label.name, errors);
            for (value, regex) in label.regex.iter().take(ENTRIES_MAX) {
                is_text(&format!("{at}.rules[{index}].labels.regex"), value, errors);
                is_text(&format!("{at}.rules[{index}].labels.regex"), regex, errors);
            }
        }
    }
    let paths = metrics.http.iter().flat_map(|http| &http.path_matching);
    for path in paths.take(ENTRIES_MAX) {
        is_text(&format!("{at}.http.pathMatching"), path, errors);
    }
    let buckets = metrics.latency_distribution_buckets.as_deref().unwrap_or_default();
    let grow = buckets.windows(2).all(|pair| pair.first() < pair.last());
    if buckets.len() > 128 || !grow || buckets.first() == Some(&0) {
        errors.push(
            format!("{at}.latencyDistributionBuckets"),
            "are not at most 128 growing bounds above 0",
            "use milliseconds such as [1, 5, 10, 50]",
        );
    }
}

fn check_secrets(scopes: &[&SecretsScope], errors: &mut FieldErrors) {
    at_most("spec.secrets.scopes", scopes.len(), errors);
    let mut seen = std::collections::BTreeSet::new();
    for (index, scope) in scopes.iter().enumerate() {
        let at = format!("spec.secrets.scopes[{index}]");
        if NameRule::Component.canonical(&scope.store_name).is_err() {
            errors.push(
                format!("{at}.storeName"),
                "is not the name of a component",
                "name a secret store",
            );
        } else if !seen.insert(&scope.store_name) {
            errors.push(format!("{at}.storeName"), "is named twice", "keep one of them");
        }
        is_one_of(
            &format!("{at}.defaultAccess"),
            &scope.default_access,
            &["", "allow", "deny"],
            errors,
        );
        at_most(&format!("{at}.allowedSecrets"), scope.allowed_secrets.len(), errors);
        at_most(&format!("{at}.deniedSecrets"), scope.denied_secrets.len(), errors);
        if scope
            .allowed_secrets
            .iter()
            .any(|name| scope.denied_secrets.contains(name))
        {
            errors.push(
                format!("{at}.deniedSecrets"),
                "names a secret that allowedSecrets names too",
                "decide for one of them",
            );
        }
    }
}

fn check_api(at: &str, rules: &[ApiRule], errors: &mut FieldErrors) {
    at_most(at, rules.len(), errors);
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("{at}[{index}]");
        is_one_of(&format!("{at}.name"), &rule.name, APIS, errors);
        let version = rule.version.as_str();
        if !version.starts_with('v')
            || version.len() > 16
            || !version.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
        {
            errors.push(format!("{at}.version"), "is not a version", "use a version such as v1");
        }
        is_one_of(&format!("{at}.protocol"), &rule.protocol, &["", "http", "grpc"], errors);
    }
}

fn check_workflow(workflow: &WorkflowLimits, errors: &mut FieldErrors) {
    let at = "spec.workflow";
    for (list, limits) in [
        ("workflowConcurrencyLimits", &workflow.workflow_concurrency_limits),
        ("activityConcurrencyLimits", &workflow.activity_concurrency_limits),
    ] {
        at_most(&format!("{at}.{list}"), limits.len(), errors);
        for (index, limit) in limits.iter().enumerate() {
            is_text(&format!("{at}.{list}[{index}].name"), &limit.name, errors);
        }
    }
    if let Some(kept) = &workflow.state_retention_policy {
        for (name, text) in [
            ("anyTerminal", &kept.any_terminal),
            ("completed", &kept.completed),
            ("failed", &kept.failed),
            ("terminated", &kept.terminated),
        ] {
            duration::check(&format!("{at}.stateRetentionPolicy.{name}"), text, false, errors);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::KIND;

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
        let twice = json!({ "accessControl": { "policies": [{ "appId": "a" }, { "appId": "A" }] } });
        assert!(complaint(twice).contains("has a policy already"));
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
        let kept = json!({ "workflow": { "stateRetentionPolicy": { "completed": "3 days" } } });
        assert!(complaint(kept).contains("spec.workflow.stateRetentionPolicy.completed"));
        let handler = json!({ "httpPipeline": { "handlers": [{ "name": "x", "type": "state.redis" }] } });
        assert!(complaint(handler).contains("spec.httpPipeline.handlers[0].type"));
    }
}
