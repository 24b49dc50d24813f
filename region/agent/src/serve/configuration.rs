//! A Configuration as Dapr's resource, in the region's own words.
//!
//! One idea: files say `public` and `default` where Dapr has a trust domain and a namespace; a Dapr Server compares with
//! certificates, so it is given what stands in them. Must never hand out a Configuration whose secret is missing, nor let
//! a policy speak of another project.

use std::collections::HashMap;

use palladium_kinds::configuration::{AccessPolicy, ConfigurationContent, TRACE_HEADERS};
use serde_json::Value;

use super::resource::{dapr, resolved};
use crate::desired::Admitted;
use crate::region::Region;

/// Dapr's word for a trust domain that nobody has set.
const PUBLIC: &str = "public";
/// Dapr's word for a namespace that nobody has set.
const DEFAULT: &str = "default";
const ALLOW: &str = "allow";
const DENY: &str = "deny";

/// Renders it; `None` when a secret is missing.
pub(super) fn render(region: &Region, object: &Admitted, content: &ConfigurationContent) -> Option<Value> {
    let mut content = content.clone();
    let domain = region.names.domain.to_string();
    let translate = |text: &mut String, words: &[&str], own: &str| {
        if words.contains(&text.as_str()) {
            own.clone_into(text);
        }
    };
    if let Some(control) = &mut content.spec.access_control {
        let (meta, project_id) = (&object.meta, &object.meta.project_id);
        if control.default_action.is_empty() {
            // With a trust domain filled in, a Dapr Server would take silence for "deny".
            let silence = if control.policies.is_empty() { ALLOW } else { DENY };
            silence.clone_into(&mut control.default_action);
        }
        translate(&mut control.trust_domain, &["", PUBLIC], &domain);
        for policy in &mut control.policies {
            translate(&mut policy.trust_domain, &["", PUBLIC], &domain);
            translate(&mut policy.namespace, &["", DEFAULT, &meta.project_name], project_id);
        }
        close_ambiguous(&mut control.policies);
    }
    let mut spec = serde_json::to_value(&content.spec).ok()?;
    let otel = content.spec.tracing.as_ref().and_then(|tracing| tracing.otel.as_ref());
    if let Some(otel) = otel.filter(|otel| !otel.headers.is_empty()) {
        let mut headers = Vec::with_capacity(otel.headers.len());
        for header in &otel.headers {
            let mut shown = resolved(region, &object.meta.uid, &header.field(TRACE_HEADERS), header.slot())?;
            shown["name"] = header.name.clone().into();
            headers.push(shown);
        }
        spec["tracing"]["otel"]["headers"] = headers.into();
    }
    let mut resource = dapr(object, "dapr.io/v1alpha1", "Configuration");
    resource["spec"] = spec;
    Some(resource)
}

/// Policies of one caller that had different words for one namespace: a Dapr Server would ask only one of them, so all of
/// them refuse.
fn close_ambiguous(policies: &mut [AccessPolicy]) {
    let name = |policy: &AccessPolicy| (policy.app_id.clone(), policy.namespace.clone());
    let mut count = HashMap::new();
    for policy in policies.iter() {
        *count.entry(name(policy)).or_insert(0) += 1;
    }
    for policy in policies.iter_mut().filter(|policy| count[&name(policy)] > 1) {
        tracing::warn!(caller = %policy.app_id, "two policies for one caller in a Configuration: it is refused");
        DENY.clone_into(&mut policy.default_action);
        policy.operations.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_policies_that_become_one_refuse() {
        let policy = |app_id: &str, namespace: &str| AccessPolicy {
            app_id: app_id.to_owned(),
            namespace: namespace.to_owned(),
            default_action: ALLOW.to_owned(),
            ..AccessPolicy::default()
        };
        let mut policies = [policy("a", "p"), policy("b", "p"), policy("a", "p"), policy("a", "q")];
        close_ambiguous(&mut policies);
        let actions = policies.map(|policy| policy.default_action);
        assert_eq!(actions, [DENY, ALLOW, DENY, ALLOW]);
    }
}
