//! Access control lists: who may call which method of this application (`spec.accessControl` of a Configuration).
//!
//! One idea: the original's order of decisions, which users rely on: the caller's policy, found by the App ID and
//! namespace of its certificate; in it the first operation that matches in the order of the file; in that the verb; what
//! is not said falls to the policy's default, then to the list's. Must never be asked about anything but a canonical
//! method, nor take the caller's identity from a request.

mod pattern;

use std::collections::HashMap;

use palladium_spiffe::SpiffeId;
use serde::Deserialize;

use pattern::Patterns;

/// The trust domain of a list that names none.
pub const DEFAULT_TRUST_DOMAIN: &str = "public";

/// `spec.accessControl`, as written.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub struct AccessControlSpec {
    default_action: String,
    trust_domain: String,
    policies: Option<Vec<PolicySpec>>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
struct PolicySpec {
    app_id: String,
    default_action: String,
    trust_domain: String,
    namespace: String,
    operations: Option<Vec<OperationSpec>>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
struct OperationSpec {
    name: String,
    http_verb: Option<Vec<String>>,
    action: String,
}

impl AccessControlSpec {
    /// The trust domain that this App ID itself belongs to.
    pub fn trust_domain(&self) -> &str {
        if self.trust_domain.is_empty() {
            DEFAULT_TRUST_DOMAIN
        } else {
            &self.trust_domain
        }
    }
}

/// A list that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "invalid access control spec. missing trustdomain for apps: {trust_domain:?}, missing namespace for apps: \
     {namespace:?}, missing app name on at least one of the app policies: {name}"
)]
pub struct AccessError {
    trust_domain: Vec<String>,
    namespace: Vec<String>,
    name: bool,
}

/// The list, ready to be asked.
#[derive(Debug)]
pub struct AccessControl {
    default: bool,
    /// By App ID, then namespace.
    policies: HashMap<(String, String), Policy>,
    http: bool,
}

#[derive(Debug)]
struct Policy {
    /// Nothing said: the list's default.
    default: Option<bool>,
    trust_domain: String,
    operations: Patterns<Operation>,
}

#[derive(Debug)]
struct Operation {
    allowed: bool,
    verbs: Vec<String>,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who the certificate says is calling; `None` without one.
    pub caller: Option<&'a SpiffeId>,
    /// The canonical method.
    pub method: &'a str,
    /// The HTTP verb in capitals; `None` when the call has none.
    pub verb: Option<&'a str>,
    /// Whether the call is proxied gRPC, which has no verbs whatever the application speaks otherwise.
    pub proxied: bool,
}

impl AccessControl {
    /// Reads a list; `None` when it says nothing. `http`: whether the application speaks HTTP: then case does not matter.
    ///
    /// # Errors
    /// [`AccessError`] names the policies that lack something.
    pub fn new(spec: &AccessControlSpec, http: bool) -> Result<Option<Self>, AccessError> {
        let named = spec.policies.as_deref().unwrap_or_default();
        if spec.trust_domain.is_empty() && spec.default_action.is_empty() && named.is_empty() {
            return Ok(None);
        }
        let default = if spec.default_action.is_empty() {
            // Only an empty list that is written down means that nothing is to be refused.
            spec.policies.as_ref().is_some_and(Vec::is_empty)
        } else {
            allows(&spec.default_action)
        };
        let mut error = AccessError {
            trust_domain: Vec::new(),
            namespace: Vec::new(),
            name: false,
        };
        let mut policies = HashMap::new();
        for policy in named {
            error.name |= policy.app_id.is_empty();
            if policy.trust_domain.is_empty() {
                error.trust_domain.push(policy.app_id.clone());
            }
            if policy.namespace.is_empty() {
                error.namespace.push(policy.app_id.clone());
            }
            let mut operations = Patterns::default();
            for operation in policy.operations.iter().flatten() {
                let mut name = operation.name.clone();
                if http {
                    name = name.to_lowercase();
                }
                let operation = Operation {
                    allowed: allows(&operation.action),
                    verbs: operation.http_verb.clone().unwrap_or_default(),
                };
                operations.put(&name, operation);
            }
            let made = Policy {
                default: (!policy.default_action.is_empty()).then(|| allows(&policy.default_action)),
                trust_domain: policy.trust_domain.clone(),
                operations,
            };
            policies.insert((policy.app_id.clone(), policy.namespace.clone()), made);
        }
        if error.name || !error.trust_domain.is_empty() || !error.namespace.is_empty() {
            return Err(error);
        }
        Ok(Some(Self {
            default,
            policies,
            http,
        }))
    }

    /// Whether a call may go on.
    ///
    /// # Errors
    /// The refusal in the original's words.
    pub fn check(&self, question: &Question<'_>) -> Result<(), String> {
        if self.allows(question) {
            return Ok(());
        }
        let id = question.caller.map_or("<nil>", SpiffeId::as_str);
        Err(format!(
            "access control policy has denied access to id: {id} operation: {} verb: {}",
            question.method,
            question.verb.unwrap_or("NONE")
        ))
    }

    /// Whether there is a policy for an App ID, so that it and not the one for all has the word.
    pub fn knows(&self, caller: &SpiffeId) -> bool {
        self.policy(caller).is_some()
    }

    fn allows(&self, question: &Question<'_>) -> bool {
        let Some(policy) = question.caller.and_then(|caller| self.policy(caller)) else {
            return self.default;
        };
        let default = policy.default.unwrap_or(self.default);
        let http = self.http && !question.proxied;
        let lower;
        let method = if http {
            lower = question.method.to_lowercase();
            &lower
        } else {
            question.method
        };
        let Some(operation) = policy.operations.find(method) else {
            return default;
        };
        if !http {
            return operation.allowed;
        }
        let Some(verb) = question.verb else {
            // A call without a verb is judged by the policy alone, which allows nothing unless it says so.
            return policy.default.unwrap_or(false);
        };
        if operation.verbs.iter().any(|named| named == verb || named == "*") {
            operation.allowed
        } else {
            default
        }
    }

    fn policy(&self, caller: &SpiffeId) -> Option<&Policy> {
        let (namespace, name) = caller.namespace_and_name()?;
        let policy = self.policies.get(&(name.to_owned(), namespace.to_owned()))?;
        (policy.trust_domain == caller.trust_domain().as_str()).then_some(policy)
    }
}

/// Anything but `allow` denies.
fn allows(action: &str) -> bool {
    action.eq_ignore_ascii_case("allow")
}

#[cfg(test)]
mod tests;
