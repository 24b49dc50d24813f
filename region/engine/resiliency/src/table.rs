//! Which policy a call gets.
//!
//! One idea: a target that is named has what its entry names; any other has the defaults, the most special name first
//! (`DefaultStatestoreComponentOutboundRetryPolicy` before `DefaultRetryPolicy`). Circuit breakers live as long as what they
//! guard is called, and there are only so many. Must never let one target's breaker speak for another.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::breaker::{Breaker, Template};
use crate::policy::Policy;
use crate::resource::{Directions, Names, ResourceError, Spec};
use crate::retry::{Pauses, Retry};

/// What kind of component is called or calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ComponentKind {
    Binding,
    Configuration,
    Conversation,
    Crypto,
    Lock,
    Pubsub,
    Secretstore,
    Statestore,
}

/// Which way a component's call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards the application.
    Inbound,
    /// Towards the component, or another application.
    Outbound,
}

impl Direction {
    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// Policies that hold where nobody has said anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltIn {
    /// Calls to other App IDs.
    Service,
    /// Calls of actors.
    Actor,
    /// Reminders.
    ActorReminder,
    /// An actor that is not where it should be.
    ActorNotFound,
    /// Opening components.
    Initialization,
}

const BUILT_IN: [(BuiltIn, &str); 5] = [
    (BuiltIn::Service, "DaprBuiltInServiceRetries"),
    (BuiltIn::Actor, "DaprBuiltInActorRetries"),
    (BuiltIn::ActorReminder, "DaprBuiltInActorReminderRetries"),
    (BuiltIn::ActorNotFound, "DaprBuiltInActorNotFoundRetries"),
    (BuiltIn::Initialization, "DaprBuiltInInitializationRetries"),
];
/// The one that may not be replaced.
const PROTECTED: &str = "DaprBuiltInActorNotFoundRetries";
/// Fewest repetitions of a built-in policy that was replaced.
const FEWEST: u64 = 3;

/// Circuit breakers of one target, when it does not say how many.
const BREAKERS: usize = 100;

/// A part of a policy, as metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PolicyKind {
    Timeout,
    Retry,
    CircuitBreaker,
}

impl PolicyKind {
    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Retry => "retry",
            Self::CircuitBreaker => "circuitbreaker",
        }
    }
}

/// Is told what policies do; metrics.
pub trait Observer: Send + Sync + 'static {
    /// A call has this part. `status`: of a circuit breaker its state, else empty.
    fn executed(&self, about: &About, kind: PolicyKind, status: &str);
    /// This part did something about a failure. `status`: of a circuit breaker its new state, else empty.
    fn activated(&self, about: &About, kind: PolicyKind, status: &str);
}

/// Whom a policy is for.
pub struct About {
    /// Name of the resource.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Which way the call goes.
    pub direction: Direction,
    /// `app_<App ID>`, or `<kind>_<component>`.
    pub target: String,
    pub(crate) observer: Arc<dyn Observer>,
}

impl std::fmt::Debug for About {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("About")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// All policies of one process.
pub struct Resiliency {
    /// The last resource's, as metrics have it.
    name: String,
    namespace: String,
    timeouts: BTreeMap<String, Duration>,
    retries: BTreeMap<String, Arc<Retry>>,
    templates: BTreeMap<String, Template>,
    apps: BTreeMap<String, Names>,
    components: BTreeMap<String, Directions>,
    /// By target, then by what it guards.
    breakers: Mutex<HashMap<String, Guarded>>,
    observer: Option<Arc<dyn Observer>>,
}

#[derive(Default)]
struct Guarded {
    used: u64,
    by_name: HashMap<String, (u64, Arc<Breaker>)>,
}

impl Default for Resiliency {
    fn default() -> Self {
        let constant = |times| Retry::constant(Duration::from_secs(1), times);
        let exponential = |longest, within, most| Retry {
            pauses: Pauses::Exponential {
                first: Duration::from_millis(500),
                longest: Duration::from_secs(longest),
                within: Some(Duration::from_secs(within)),
            },
            most,
            ..constant(0)
        };
        let retry = |one| match one {
            BuiltIn::Service | BuiltIn::Actor => constant(3),
            BuiltIn::ActorNotFound => constant(5),
            BuiltIn::ActorReminder => exponential(60, 15 * 60, None),
            BuiltIn::Initialization => exponential(1, 10, Some(3)),
        };
        let retries = BUILT_IN.map(|(one, name)| (name.to_owned(), Arc::new(retry(one))));
        Self {
            name: String::new(),
            namespace: String::new(),
            timeouts: BTreeMap::new(),
            retries: retries.into(),
            templates: BTreeMap::new(),
            apps: BTreeMap::new(),
            components: BTreeMap::new(),
            breakers: Mutex::default(),
            observer: None,
        }
    }
}

impl Resiliency {
    /// Only the built-in policies; whoever is told what they do.
    pub fn new(observer: Option<Arc<dyn Observer>>) -> Self {
        Self {
            observer,
            ..Self::default()
        }
    }

    /// Takes in the `spec` of one resource, whole or not at all.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, name: &str, namespace: &str, spec: Value) -> Result<(), ResourceError> {
        let spec: Spec = serde_json::from_value(spec).map_err(|error| ResourceError(error.to_string()))?;
        let mut timeouts = self.timeouts.clone();
        for (name, timeout) in &spec.policies.timeouts {
            timeouts.insert(name.clone(), timeout.duration(Duration::ZERO)?);
        }
        let mut retries = self.retries.clone();
        for (name, written) in &spec.policies.retries {
            let mut retry = written.read(name)?;
            if name == PROTECTED {
                tracing::warn!("Policy {name} cannot be replaced and stays as it is");
                continue;
            }
            let is_built_in = BUILT_IN.iter().any(|(_, known)| known == name);
            if is_built_in && retry.most.is_some_and(|most| most < FEWEST) {
                tracing::warn!("Policy {name} must allow {FEWEST} repetitions at least: that many it has");
                retry.most = Some(FEWEST);
            }
            retries.insert(name.clone(), Arc::new(retry));
        }
        let mut templates = self.templates.clone();
        for (name, written) in &spec.policies.circuit_breakers {
            templates.insert(name.clone(), written.read(name)?);
        }
        for actor in spec.targets.actors.values() {
            let scope = ["type", "id", "both"].contains(&actor.circuit_breaker_scope.as_str());
            if !actor.circuit_breaker.is_empty() && !scope {
                return Err(ResourceError("actor circuit breakers must include scope".to_owned()));
            }
        }
        (self.timeouts, self.retries, self.templates) = (timeouts, retries, templates);
        self.apps.extend(spec.targets.apps);
        self.components.extend(spec.targets.components);
        (self.name, self.namespace) = (name.to_owned(), namespace.to_owned());
        Ok(())
    }

    /// Whether nobody has said anything: then every policy but the built-in ones is empty.
    pub fn is_plain(&self) -> bool {
        self.timeouts.is_empty() && self.templates.is_empty() && self.retries.len() == BUILT_IN.len()
    }

    /// Whether calls of an App ID have a policy, if only an empty one: then the built-in one does not hold.
    pub fn speaks_of_app(&self, app: &str) -> bool {
        let defaults = || self.defaults(&["App"]);
        self.apps.contains_key(app) || (!self.is_plain() && !defaults().is_empty())
    }

    /// For a call of an App ID. `endpoint` names what is called there: it has a circuit breaker of its own.
    pub fn app(&self, app: &str, endpoint: &str) -> Policy {
        let named = self.apps.get(app);
        let defaults;
        let names = match named {
            Some(names) => names,
            None => {
                defaults = self.defaults(&["App"]);
                &defaults
            }
        };
        let about = || format!("app_{app}");
        self.policy(names, &format!("app/{app}"), endpoint, Direction::Outbound, about)
    }

    /// For a call of a component, or by one.
    pub fn component(&self, name: &str, kind: ComponentKind, direction: Direction) -> Policy {
        let defaults;
        let names = match (self.components.get(name), direction) {
            (Some(directions), Direction::Inbound) => &directions.inbound,
            (Some(directions), Direction::Outbound) => &directions.outbound,
            (None, _) => {
                let way = match direction {
                    Direction::Inbound => "Inbound",
                    Direction::Outbound => "Outbound",
                };
                if self.is_plain() {
                    return Policy::default();
                }
                let (special, general) = (format!("{kind:?}Component{way}"), format!("Component{way}"));
                defaults = self.defaults(&[&special, &general, "Component"]);
                &defaults
            }
        };
        let target = format!("component/{}", direction.name());
        self.policy(names, &target, name, direction, || format!("{kind:?}_{name}"))
    }

    /// A built-in policy, or what replaced it.
    pub fn built_in(&self, which: BuiltIn) -> Policy {
        let name = BUILT_IN.iter().find(|(one, _)| *one == which).map(|(_, name)| *name);
        Policy {
            retry: name.and_then(|name| self.retries.get(name)).cloned(),
            ..Policy::default()
        }
    }

    /// The names of the defaults that there are, the most special first.
    fn defaults(&self, levels: &[&str]) -> Names {
        let find = |end: &str, known: &dyn Fn(&str) -> bool| {
            let names = levels
                .iter()
                .chain([&""])
                .map(|level| format!("Default{level}{end}Policy"));
            names.into_iter().find(|name| known(name)).unwrap_or_default()
        };
        Names {
            timeout: find("Timeout", &|name| self.timeouts.contains_key(name)),
            retry: find("Retry", &|name| self.retries.contains_key(name)),
            circuit_breaker: find("CircuitBreaker", &|name| self.templates.contains_key(name)),
            ..Names::default()
        }
    }

    fn policy(
        &self,
        names: &Names,
        target: &str,
        guarded: &str,
        direction: Direction,
        label: impl FnOnce() -> String,
    ) -> Policy {
        let template = self.templates.get(&names.circuit_breaker);
        let mut policy = Policy {
            timeout: self
                .timeouts
                .get(&names.timeout)
                .copied()
                .filter(|timeout| !timeout.is_zero()),
            retry: self.retries.get(&names.retry).cloned(),
            breaker: template.map(|template| self.breaker(names, template, target, guarded)),
            about: None,
            late_is_final: false,
        };
        if let (Some(observer), false) = (&self.observer, policy.is_empty()) {
            let about = About {
                name: self.name.clone(),
                namespace: self.namespace.clone(),
                direction,
                target: label(),
                observer: observer.clone(),
            };
            if policy.timeout.is_some() {
                observer.executed(&about, PolicyKind::Timeout, "");
            }
            if policy.retry.is_some() {
                observer.executed(&about, PolicyKind::Retry, "");
            }
            if let Some(breaker) = &policy.breaker {
                observer.executed(&about, PolicyKind::CircuitBreaker, breaker.state().name());
            }
            policy.about = Some(Arc::new(about));
        }
        policy
    }

    fn breaker(&self, names: &Names, template: &Template, target: &str, guarded: &str) -> Arc<Breaker> {
        let most = match names.circuit_breaker_cache_size {
            0 => BREAKERS,
            size => size.min(BREAKERS * 100),
        };
        let mut all = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= BREAKERS * 10 && !all.contains_key(target) {
            // Targets are words of callers: what was not named begins anew now and then.
            all.retain(|target, _| {
                target
                    .strip_prefix("app/")
                    .is_none_or(|app| self.apps.contains_key(app))
            });
        }
        let group = all.entry(target.to_owned()).or_default();
        group.used += 1;
        let now = group.used;
        if let Some((used, breaker)) = group.by_name.get_mut(guarded) {
            *used = now;
            return breaker.clone();
        }
        if group.by_name.len() >= most
            && let Some(oldest) = group
                .by_name
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(name, _)| name.clone())
        {
            group.by_name.remove(&oldest);
        }
        let breaker = Arc::new(Breaker::new(guarded, template));
        group.by_name.insert(guarded.to_owned(), (now, breaker.clone()));
        breaker
    }
}

#[cfg(test)]
mod tests;
