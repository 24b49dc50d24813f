//! Resiliency policies in one Dapr Server: which are in force, and components called through them.
//!
//! One idea: a resource that cannot be used is said and left out whole; the others hold. Must never end the process for one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use palladium_engine_pubsub::Verdict;
use palladium_engine_resiliency::{ComponentKind, Direction, Failed, Failure, Policy, Resiliency};

use crate::resources::ResiliencyResource;
use crate::server::{Server, StateEntry};

/// Puts these resources into force, in place of those before. Those that cannot be used come back, with the reason.
pub(crate) fn load(server: &Server, resources: Vec<ResiliencyResource>) -> Vec<(String, String)> {
    let metrics = server.metrics.resiliency();
    let mut all = Resiliency::new(Some(Arc::new(metrics.clone())));
    let (mut unusable, mut names) = (Vec::new(), Vec::new());
    for ResiliencyResource { name, namespace, spec } in resources {
        tracing::info!("Loading Resiliency configuration: {name}");
        names.push(name.clone());
        match all.add(&name, &namespace, spec) {
            Ok(()) => metrics.loaded(&name, &namespace),
            Err(error) => {
                tracing::error!("Could not read resiliency policy {name}: {error}");
                unusable.push((name, error.to_string()));
            }
        }
    }
    server.resiliency.table.store(Arc::new(all));
    server.resiliency.names.store(Arc::new(names));
    unusable
}

/// The policies that are in force.
#[derive(Clone, Default)]
pub struct Policies {
    table: Arc<ArcSwap<Resiliency>>,
    names: Arc<ArcSwap<Vec<String>>>,
}

impl Policies {
    /// The resources that they come from, usable or not, for metadata.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.load().to_vec()
    }

    /// All of them, as they are now.
    pub(crate) fn now(&self) -> Arc<Resiliency> {
        self.table.load_full()
    }

    /// What a component's call of the application runs through.
    pub(crate) fn inbound(&self, name: &str, kind: ComponentKind) -> Policy {
        self.table.load().component(name, kind, Direction::Inbound)
    }
}

/// Calls an application as a policy says; only what is to be tried again is.
pub(crate) async fn told<T, F>(policy: &Policy, mut attempt: impl FnMut() -> F) -> Result<T, Said>
where
    F: Future<Output = Result<T, Said>>,
{
    let outcome = policy.run(|_| attempt()).await;
    outcome.map_err(|failed| match failed {
        Failed::Operation(said) => said,
        other => Said::words(other.to_string()),
    })
}

/// Hands an event to an application as a policy says.
pub(crate) async fn delivered<F>(policy: &Policy, mut attempt: impl FnMut() -> F) -> Verdict
where
    F: Future<Output = Verdict>,
{
    let outcome = told(policy, || {
        let attempt = attempt();
        async {
            match attempt.await {
                Verdict::Retry(words) => Err(Said::words(words)),
                verdict => Ok(verdict),
            }
        }
    });
    outcome.await.unwrap_or_else(|said| Verdict::Retry(said.words))
}

/// What a call of a component runs through.
pub(crate) fn outbound(server: &Server, name: &str, kind: ComponentKind) -> Policy {
    server
        .resiliency
        .table
        .load()
        .component(name, kind, Direction::Outbound)
}

/// What a call of a state store runs through.
pub(crate) fn of_store(server: &Server, entry: &StateEntry) -> Policy {
    outbound(server, entry.component.name(), ComponentKind::Statestore)
}

/// An error in words only, and with the status of an answer if there was one.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) words: String,
    pub(crate) code: Option<u16>,
}

impl Said {
    /// One without a status.
    pub(crate) fn words(words: impl Into<String>) -> Self {
        let words = words.into();
        Self { words, code: None }
    }
}

impl Failure for Said {
    fn status_code(&self) -> Option<u16> {
        self.code
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}
