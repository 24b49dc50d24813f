//! Defaults and rules of resiliency policies.
//!
//! One idea: what Dapr would log and leave out at start (a wrong duration, an unknown retry policy, a status code that does
//! not exist) is refused where it is written, because a policy that is silently missing is found out in an outage. Must
//! never look up the names in targets.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{CircuitBreakerPolicy, ResiliencyContent, RetryPolicy};
use crate::component::ComponentStatus;
use crate::definition::Content;
use crate::error::FieldErrors;
use crate::{duration, expression, scopes};

/// Most policies or targets of one sort.
const ENTRIES_MAX: usize = 256;
const NAME_MAX: usize = 256;

impl Content for ResiliencyContent {
    type Status = ComponentStatus;

    fn set_defaults(&mut self) {
        scopes::canonical(&mut self.scopes);
    }

    fn validate(&self, errors: &mut FieldErrors) {
        let policies = &self.spec.policies;
        for (field, name, text) in each("spec.policies.timeouts", &policies.timeouts, errors) {
            if text.is_empty() {
                errors.push(format!("{field}.{name}"), "is empty", "use a duration such as 5s");
            }
            duration::check(&format!("{field}.{name}"), text, true, errors);
        }
        for (field, name, retry) in each("spec.policies.retries", &policies.retries, errors) {
            check_retry(&format!("{field}.{name}"), retry, errors);
        }
        for (field, name, breaker) in each("spec.policies.circuitBreakers", &policies.circuit_breakers, errors) {
            check_breaker(&format!("{field}.{name}"), breaker, errors);
        }
        let targets = &self.spec.targets;
        for (field, name, target) in each("spec.targets.apps", &targets.apps, errors) {
            let names = [&target.timeout, &target.retry, &target.circuit_breaker];
            check_names(&format!("{field}.{name}"), names, errors);
        }
        for (field, name, target) in each("spec.targets.actors", &targets.actors, errors) {
            let field = format!("{field}.{name}");
            check_names(
                &field,
                [&target.timeout, &target.retry, &target.circuit_breaker],
                errors,
            );
            let scope = target.circuit_breaker_scope.as_str();
            let needed = !target.circuit_breaker.is_empty();
            if !matches!(scope, "type" | "id" | "both") && (needed || !scope.is_empty()) {
                errors.push(
                    format!("{field}.circuitBreakerScope"),
                    "is not a scope",
                    "use type, id or both",
                );
            }
        }
        for (field, name, target) in each("spec.targets.components", &targets.components, errors) {
            for (direction, of) in [("inbound", &target.inbound), ("outbound", &target.outbound)] {
                let names = [&of.timeout, &of.retry, &of.circuit_breaker];
                check_names(&format!("{field}.{name}.{direction}"), names, errors);
            }
        }
        scopes::check(&self.scopes, errors);
    }

    fn validate_update(_: &Self, _: &Self, _: &mut FieldErrors) {}
}

/// The entries whose names can stand in a path, after a complaint about the others.
fn each<'a, V>(
    field: &'a str,
    map: &'a BTreeMap<String, V>,
    errors: &mut FieldErrors,
) -> Vec<(&'a str, &'a str, &'a V)> {
    if map.len() > ENTRIES_MAX {
        errors.push(field, format!("holds more than {ENTRIES_MAX} entries"), "remove some");
    }
    let good = |name: &str| !name.is_empty() && name.len() <= NAME_MAX && !name.chars().any(char::is_control);
    if !map.keys().all(|name| good(name)) {
        errors.push(
            field,
            "holds a name that is not allowed",
            "use at most 256 bytes without control characters",
        );
    }
    let named = map.iter().filter(|(name, _)| good(name));
    named.map(|(name, value)| (field, name.as_str(), value)).collect()
}

fn check_retry(field: &str, retry: &RetryPolicy, errors: &mut FieldErrors) {
    let policy = retry.policy.to_ascii_lowercase();
    if !matches!(policy.as_str(), "" | "constant" | "exponential") {
        errors.push(
            format!("{field}.policy"),
            "is not a retry policy",
            "use constant or exponential",
        );
    }
    duration::check(&format!("{field}.duration"), &retry.duration, true, errors);
    duration::check(&format!("{field}.maxInterval"), &retry.max_interval, true, errors);
    if retry.max_retries.is_some_and(|number| number < -1) {
        errors.push(
            format!("{field}.maxRetries"),
            "is out of range",
            "use a number from 0 up, or -1 for no end",
        );
    }
    if let Some(matching) = &retry.matching {
        for (name, codes, valid) in [
            ("httpStatusCodes", &matching.http_status_codes, 100..=599),
            ("gRPCStatusCodes", &matching.grpc_status_codes, 0..=16),
        ] {
            if !are_codes(codes, &valid) {
                errors.push(
                    format!("{field}.matching.{name}"),
                    "is not a list of status codes",
                    format!(
                        "use codes and ranges from {} to {} with commas between them",
                        valid.start(),
                        valid.end()
                    ),
                );
            }
        }
    }
}

/// `429,500-599`; empty parts are left out, as Dapr does.
fn are_codes(text: &str, valid: &RangeInclusive<i32>) -> bool {
    let code = |text: &str| text.parse::<i32>().ok().filter(|code| valid.contains(code));
    let range = |part: &str| match part.split_once('-') {
        None => code(part).is_some(),
        Some((from, to)) => code(from).zip(code(to)).is_some_and(|(from, to)| from <= to),
    };
    text.len() <= 4096 && text.split(',').filter(|part| !part.is_empty()).all(range)
}

fn check_breaker(field: &str, breaker: &CircuitBreakerPolicy, errors: &mut FieldErrors) {
    duration::check(&format!("{field}.interval"), &breaker.interval, true, errors);
    duration::check(&format!("{field}.timeout"), &breaker.timeout, true, errors);
    let trip = format!("{field}.trip");
    expression::check(&trip, &breaker.trip, errors);
    let names = breaker
        .trip
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .any(|word| COUNTERS.contains(&word));
    if !breaker.trip.trim().is_empty() && !names {
        errors.push(
            trip,
            "names none of the counters, so that it would always say the same",
            format!("use {}", COUNTERS.join(", ")),
        );
    }
}

/// What a trip expression can look at.
const COUNTERS: &[&str] = &[
    "requests",
    "totalSuccesses",
    "totalFailures",
    "consecutiveSuccesses",
    "consecutiveFailures",
];

fn check_names(field: &str, names: [&String; 3], errors: &mut FieldErrors) {
    for (part, name) in ["timeout", "retry", "circuitBreaker"].iter().zip(names) {
        if name.len() > NAME_MAX || name.chars().any(char::is_control) {
            errors.push(
                format!("{field}.{part}"),
                "is not the name of a policy",
                "name one of spec.policies, or one of Dapr's own",
            );
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

    #[test]
    fn a_policy_that_dapr_would_leave_out_is_refused_with_its_path() {
        for (policies, field) in [
            (json!({ "timeouts": { "t": "5 s" } }), "spec.policies.timeouts.t"),
            (json!({ "timeouts": { "t": "" } }), "spec.policies.timeouts.t"),
            (
                json!({ "retries": { "r": { "policy": "linear" } } }),
                "spec.policies.retries.r.policy",
            ),
            (
                json!({ "retries": { "r": { "duration": "x" } } }),
                "spec.policies.retries.r.duration",
            ),
            (
                json!({ "retries": { "r": { "maxRetries": -2 } } }),
                "spec.policies.retries.r.maxRetries",
            ),
            (
                json!({ "retries": { "r": { "matching": { "httpStatusCodes": "599-500" } } } }),
                "spec.policies.retries.r.matching.httpStatusCodes",
            ),
            (
                json!({ "retries": { "r": { "matching": { "gRPCStatusCodes": "17" } } } }),
                "spec.policies.retries.r.matching.gRPCStatusCodes",
            ),
            (
                json!({ "circuitBreakers": { "c": { "trip": "consecutiveFailures > (5" } } }),
                "spec.policies.circuitBreakers.c.trip",
            ),
            (
                json!({ "circuitBreakers": { "c": { "trip": "consecutiveFailure > 5" } } }),
                "spec.policies.circuitBreakers.c.trip",
            ),
            (
                json!({ "circuitBreakers": { "c": { "max": 1 } } }),
                "spec.policies.circuitBreakers.c.max",
            ),
        ] {
            let said = complaint(json!({ "policies": policies }));
            assert!(said.starts_with(&format!("{field}: ")), "{said}");
        }
        let actor = json!({ "targets": { "actors": { "a": { "circuitBreaker": "c" } } } });
        assert!(complaint(actor).starts_with("spec.targets.actors.a.circuitBreakerScope"));
    }

    #[test]
    fn numbers_are_durations_in_milliseconds() {
        let spec = json!({ "policies": { "timeouts": { "t": 5000 }, "retries": { "r": { "policy": "Exponential",
            "maxInterval": "15s", "maxRetries": -1, "matching": { "httpStatusCodes": 429, "gRPCStatusCodes": "1,,14-15" } } } } });
        let content = (KIND.normalize)(json!({ "spec": spec })).unwrap();
        assert_eq!(content["spec"]["policies"]["timeouts"]["t"], "5000");
        assert_eq!(
            content["spec"]["policies"]["retries"]["r"]["matching"]["httpStatusCodes"],
            "429"
        );
    }
}
