//! `middleware.http.sentinel`: so much and no more, by Sentinel's rules for a method and a path.
//!
//! The one idea: a rule's resource is `METHOD:/path`; a request is judged by the rules of its resource in Sentinel's order
//! (system, flow, isolation, circuit breakers) and counted when it passes them all and when it has ended. A rule that cannot
//! be kept is refused, never passed over, and so is a path with dots where there are rules: two who read it may mean two. Must
//! never let another spelling of a path lead around its rules, nor forget a request that was given up.

mod breaker;
mod flow;
mod rules;
mod system;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use http::request::Parts;
use palladium_component::middleware::{Middleware, MiddlewareDriver, Verdict, Watch};
use palladium_component::{CallError, ComponentMetadata, Hosted, OpenContext, OpenError, Reply, Status};

use crate::answer::refuse;
use crate::path_filter::{has_dots, plain};
use breaker::Breaker;
use flow::{Count, Flow, Said};
use system::System;

/// The driver.
pub const DRIVER: MiddlewareDriver = MiddlewareDriver {
    type_name: "middleware.http.sentinel",
    aliases: &[],
    versions: &["v1"],
    status: Status::Alpha,
    hosted: Hosted::Allowed,
    fields: SentinelMetadata::fields,
    example: include_str!("example.yaml"),
    open: |context| Box::pin(open(context)),
};

/// What a component says.
#[derive(Debug, ComponentMetadata)]
struct SentinelMetadata {
    /// Name that log lines about refused requests carry.
    app_name: Option<String>,
    /// Where Sentinel would write logs of its own. Nothing is written there: what it says goes to this program's log.
    log_dir: Option<String>,
    /// JSON array of flow rules: how many requests in a time, refused or queued beyond that.
    flow_rules: Option<String>,
    /// JSON array of circuit breaker rules: after so many slow or failed (status 500 and above) requests none for a while.
    circuit_breaker_rules: Option<String>,
    /// JSON array of rules by parameter. Requests have no parameters that Sentinel would see: only an empty one is taken.
    hot_spot_param_rules: Option<String>,
    /// JSON array of isolation rules: how many requests at a time.
    isolation_rules: Option<String>,
    /// JSON array of rules for all requests together: mean time, number at a time, number in a second.
    system_rules: Option<String>,
}

async fn open(context: OpenContext) -> Result<Arc<dyn Middleware>, OpenError> {
    let metadata = SentinelMetadata::parse(&context.properties)?;
    if metadata.log_dir.is_some_and(|folder| !folder.is_empty()) {
        tracing::warn!(
            component = context.component,
            "logDir: nothing is written there, see this program's log"
        );
    }
    rules::none("hotSpotParamRules", metadata.hot_spot_param_rules.as_deref())?;
    let mut nodes: HashMap<String, Node> = HashMap::new();
    for rule in rules::flow(metadata.flow_rules.as_deref())? {
        let count = rule.count();
        let counted = nodes.entry(rule.counted().to_owned()).or_default();
        counted.counts.push(count.clone());
        let node = nodes.entry(rule.resource.clone()).or_default();
        node.flow.push(Flow::new(&rule, count));
    }
    for rule in rules::isolation(metadata.isolation_rules.as_deref())? {
        let node = nodes.entry(rule.resource).or_default();
        node.most = Some(node.most.map_or(rule.threshold, |most| most.min(rule.threshold)));
    }
    for rule in rules::breakers(metadata.circuit_breaker_rules.as_deref())? {
        let node = nodes.entry(rule.resource.clone()).or_default();
        lock(&node.held).breakers.push(Breaker::new(&rule));
    }
    let system = System::new(rules::system(metadata.system_rules.as_deref())?);
    Ok(Arc::new(Sentinel(Arc::new(Guard {
        app: metadata.app_name.unwrap_or(context.app_id),
        start: Instant::now(),
        nodes: nodes.into_iter().map(|(name, node)| (name, Arc::new(node))).collect(),
        system: system.map(Mutex::new),
    }))))
}

struct Sentinel(Arc<Guard>);

struct Guard {
    app: String,
    /// All times are counted from here.
    start: Instant,
    nodes: HashMap<String, Arc<Node>>,
    system: Option<Mutex<System>>,
}

/// What is known of a resource.
#[derive(Default)]
struct Node {
    flow: Vec<Flow>,
    /// Requests at a time.
    most: Option<u32>,
    /// What counts its requests.
    counts: Vec<Arc<Mutex<Count>>>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    running: u32,
    breakers: Vec<Breaker>,
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under these locks leaves numbers that are still numbers.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guard {
    /// How long the request has to wait, or that it must not pass.
    fn queue(&self, node: Option<&Node>, now: Duration) -> Option<Duration> {
        if let Some(system) = &self.system
            && !lock(system).passes(now)
        {
            return None;
        }
        let mut wait = Duration::ZERO;
        for flow in node.into_iter().flat_map(|node| &node.flow) {
            match flow.check(now + wait) {
                Said::Pass => {}
                Said::Wait(more) => wait += more,
                Said::Refuse => return None,
            }
        }
        Some(wait)
    }

    /// Lets a request in, unless too many are or a circuit is open.
    fn enter(self: &Arc<Self>, node: Option<Arc<Node>>, now: Duration) -> Option<Entry> {
        if let Some(node) = &node {
            let mut held = lock(&node.held);
            if node.most.is_some_and(|most| held.running >= most) || !breaker::pass(&mut held.breakers, now) {
                return None;
            }
            held.running += 1;
            drop(held);
            node.counts.iter().for_each(|count| lock(count).add(now));
        }
        if let Some(system) = &self.system {
            lock(system).entered(now);
        }
        Some(Entry {
            guard: self.clone(),
            node,
            since: now,
            failed: false,
        })
    }

    fn verdict(self: &Arc<Self>, resource: &str, node: Option<Arc<Node>>) -> Verdict {
        match self.enter(node, self.start.elapsed()) {
            Some(entry) => Verdict::Watch(Box::new(entry)),
            None => self.refuse(resource),
        }
    }

    fn refuse(&self, resource: &str) -> Verdict {
        tracing::debug!(app = self.app, resource, "a request was refused by a rule");
        refuse(StatusCode::TOO_MANY_REQUESTS)
    }
}

impl Middleware for Sentinel {
    fn judge<'a>(&'a self, head: &'a mut Parts) -> Reply<'a, Verdict, CallError> {
        let guard = &self.0;
        if !guard.nodes.is_empty() && has_dots(head.uri.path()) {
            tracing::debug!(app = guard.app, "a path with dots has no rules of its own");
            return Reply::ready(Ok(refuse(StatusCode::BAD_REQUEST)));
        }
        let resource = format!("{}:{}", head.method, plain(head.uri.path()));
        let node = guard.nodes.get(&resource).cloned();
        if node.is_none() && guard.system.is_none() {
            return Reply::ready(Ok(Verdict::pass()));
        }
        match guard.queue(node.as_deref(), guard.start.elapsed()) {
            None => Reply::ready(Ok(guard.refuse(&resource))),
            Some(Duration::ZERO) => Reply::ready(Ok(guard.verdict(&resource, node))),
            Some(wait) => Reply::wait(async move {
                tokio::time::sleep(wait).await;
                Ok(guard.verdict(&resource, node))
            }),
        }
    }
}

/// A request that was let in. It is over when this is dropped, answered or not.
struct Entry {
    guard: Arc<Guard>,
    node: Option<Arc<Node>>,
    since: Duration,
    failed: bool,
}

impl Watch for Entry {
    fn ended(mut self: Box<Self>, status: StatusCode) {
        self.failed = status.is_server_error();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let now = self.guard.start.elapsed();
        let took = now.saturating_sub(self.since);
        if let Some(node) = &self.node {
            let mut held = lock(&node.held);
            held.running = held.running.saturating_sub(1);
            for breaker in &mut held.breakers {
                breaker.ended(took, self.failed, now);
            }
        }
        if let Some(system) = &self.guard.system {
            lock(system).ended(took, now);
        }
    }
}

#[cfg(test)]
mod tests;
