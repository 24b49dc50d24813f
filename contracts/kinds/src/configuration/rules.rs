//! Defaults and rules of configurations.
//!
//! One idea: a word that Dapr would not understand decides nothing there; in access control and API rules that would be a
//! hole, so it is refused here. Must never accept what belongs to the platform.

mod access;
mod telemetry;

use super::{ApiRule, ConfigurationContent, Pipeline, SecretsScope, WorkflowLimits};
use crate::component::ComponentStatus;
use crate::definition::Content;
use crate::error::FieldErrors;
use crate::names::NameRule;
use crate::{duration, values};

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
            access::check(control, errors);
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
            telemetry::check_tracing(tracing, errors);
        }
        for (field, metrics) in [("spec.metric", &spec.metric), ("spec.metrics", &spec.metrics)] {
            if let Some(metrics) = metrics {
                telemetry::check_metrics(field, metrics, errors);
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
        at_most("spec.components.deny", deny.clone().count(), errors);
        for (index, kind) in deny.enumerate() {
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
        let fields = handler.selector.iter().flat_map(|selector| &selector.fields);
        at_most(&format!("{at}.selector.fields"), fields.clone().count(), errors);
        for field in fields {
            is_text(&format!("{at}.selector.fields.field"), &field.field, errors);
        }
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
mod tests;
