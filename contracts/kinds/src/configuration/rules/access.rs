//! Rules of access control: who may call what.
//!
//! One idea: a rule that can never match protects nobody, so it is refused where it is written. Must never accept a word
//! that Dapr would take for nothing.

use super::{at_most, is_one_of};
use crate::configuration::{AccessControl, AccessOperation};
use crate::error::FieldErrors;
use crate::scopes;

const ACTIONS: &[&str] = &["allow", "deny"];
const ACTIONS_OR_NONE: &[&str] = &["", "allow", "deny"];
const VERBS: &[&str] = &[
    "*", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE",
];

/// Complains about all of it.
pub(super) fn check(control: &AccessControl, errors: &mut FieldErrors) {
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
        // Two words for the namespace of the own project.
        let namespace = match policy.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        if !seen.insert((&policy.app_id, namespace)) {
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
            at_most(&format!("{at}.httpVerb"), http_verb.len(), errors);
            for verb in http_verb {
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
