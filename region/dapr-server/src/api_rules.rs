//! Which groups of the API are switched on (`spec.api` of a Configuration).
//!
//! One idea: a denied rule wins; as soon as one rule allows something of a protocol, everything else of it is off;
//! health is always on. Decided for each (group, version) of a protocol, once per request, by a short list. Must never
//! switch health off: whoever probes would restart the process for ever.

use crate::resources::ApiRule;

/// A protocol of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP.
    Http,
    /// gRPC.
    Grpc,
}

/// The rules; empty = everything is on.
#[derive(Clone, Debug, Default)]
pub struct ApiRules {
    allowed: Vec<ApiRule>,
    denied: Vec<ApiRule>,
}

impl ApiRules {
    /// From a Configuration.
    pub fn new(allowed: Vec<ApiRule>, denied: Vec<ApiRule>) -> Self {
        Self { allowed, denied }
    }

    /// Whether `group` (such as `state`) of `version` (such as `v1.0`) is on.
    pub fn allows(&self, protocol: Protocol, group: &str, version: &str) -> bool {
        if (self.allowed.is_empty() && self.denied.is_empty()) || group == "healthz" {
            return true;
        }
        let name = match protocol {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
        };
        let version = group_version(version);
        let speaks = |rule: &&ApiRule| rule.protocol.is_empty() || rule.protocol.eq_ignore_ascii_case(name);
        let hits = |rule: &ApiRule| rule.name == group && (rule.version.is_empty() || rule.version == version);
        if self.denied.iter().filter(speaks).any(hits) {
            return false;
        }
        let mut allowed = self.allowed.iter().filter(speaks).peekable();
        allowed.peek().is_none() || allowed.any(hits)
    }
}

/// The version of a group by the version in the path.
fn group_version(path: &str) -> &'static str {
    match path {
        "v1.0-alpha1" => "v1alpha1",
        "v1.0-alpha2" => "v1alpha2",
        "v1.0-beta1" => "v1beta1",
        _ => "v1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, version: &str, protocol: &str) -> ApiRule {
        ApiRule {
            name: name.into(),
            version: version.into(),
            protocol: protocol.into(),
        }
    }

    #[test]
    fn denied_wins_and_a_list_of_allowed_is_complete() {
        let rules = ApiRules::new(vec![rule("state", "v1", "http")], vec![]);
        assert!(rules.allows(Protocol::Http, "state", "v1.0"));
        assert!(!rules.allows(Protocol::Http, "state", "v1.0-alpha1"));
        assert!(!rules.allows(Protocol::Http, "metadata", "v1.0"));
        assert!(rules.allows(Protocol::Http, "healthz", "v1.0"));
        assert!(rules.allows(Protocol::Grpc, "metadata", "v1.0"));
        let rules = ApiRules::new(vec![rule("state", "", "")], vec![rule("state", "v1", "grpc")]);
        assert!(!rules.allows(Protocol::Grpc, "state", "v1.0"));
        assert!(rules.allows(Protocol::Http, "state", "v1.0"));
    }
}
