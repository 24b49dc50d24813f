//! Keeps the running subscriptions equal to those that there should be.
//!
//! One idea: level-triggered. Whatever happens (a component comes, changes or goes, the application appears or falls ill, a
//! subscription ends by itself) only rings a bell; then everything is compared anew, what should not run is stopped and may
//! finish what is under way, what should run is started, what could not be started is tried again. Who receives is the
//! application, or the outbox of a state store, which needs no application. Must never run a subscription for an application
//! that is not healthy, nor the same one twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use palladium_component::pubsub::Subscription;
use palladium_engine_pubsub::{ConditionError, Deliver, PubsubComponent, Spec, run};
use palladium_tasks::{Backoff, Shutdown, Tasks};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::deliver::ToApplication;
use super::{PubsubEntry, programmatic};
use crate::app_channel::AppChannel;
use crate::outbox::Relay;
use crate::server::{Server, StateEntry};

/// How long a broker may take to accept a subscription.
const START: Duration = Duration::from_secs(30);
/// How long a component may take to hand out no more.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a stopped subscription may take to finish what is under way.
const DRAIN: Duration = Duration::from_secs(31);

/// Keeps them until `shutdown`; `first` is told when everything was looked at once.
pub async fn keep(server: Arc<Server>, first: oneshot::Sender<()>, shutdown: Shutdown) {
    let mut keeper = Keeper {
        server,
        running: Vec::new(),
        asked: None,
    };
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
    let mut first = Some(first);
    while !shutdown.is_triggered() {
        let complete = keeper.look(&shutdown).await;
        if let Some(first) = first.take() {
            let _ = first.send(());
        }
        let app = keeper.server.app.load_full();
        let healed = async {
            match &app {
                Some(app) => app.health_changed().await,
                None => std::future::pending().await,
            }
        };
        let again = if complete {
            backoff.reset();
            Duration::MAX
        } else {
            backoff.next_delay()
        };
        tokio::select! {
            () = shutdown.wait() => break,
            () = keeper.server.subscriptions.rung() => {}
            () = healed => {}
            () = sleep(again) => {}
        }
    }
    pause_all(&keeper.running).await;
    stop_all(std::mem::take(&mut keeper.running)).await;
}

/// Asks the components of these to hand out no more.
async fn pause_all(running: &[Running]) {
    let mut components: Vec<&Arc<PubsubComponent>> = Vec::new();
    for one in running {
        if !components.iter().any(|other| Arc::ptr_eq(other, &one.component)) {
            components.push(&one.component);
        }
    }
    let pauses = components.into_iter().map(|component| async move {
        let pubsub = component.name();
        match timeout(PAUSE, component.driver().pause()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(pubsub, %error, "a component could not be paused"),
            Err(_) => tracing::warn!(pubsub, "a component was not paused in time"),
        }
    });
    join_all(pauses).await;
}

struct Keeper {
    server: Arc<Server>,
    running: Vec<Running>,
    /// The application that has said what it wants.
    asked: Option<Arc<AppChannel>>,
}

/// Who receives.
#[derive(Clone)]
enum To {
    Application(Arc<AppChannel>),
    /// The stores whose promises come by the same topic.
    Outbox(Vec<Arc<StateEntry>>),
}

impl To {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Application(one), Self::Application(other)) => Arc::ptr_eq(one, other),
            (Self::Outbox(ones), Self::Outbox(others)) => {
                ones.len() == others.len() && ones.iter().zip(others).all(|(one, other)| Arc::ptr_eq(one, other))
            }
            _ => false,
        }
    }
}

/// What has to be equal for a subscription to go on.
struct Wanted {
    spec: Spec,
    entry: Arc<PubsubEntry>,
    to: To,
}

struct Running {
    spec: Spec,
    component: Arc<PubsubComponent>,
    to: To,
    stop: Shutdown,
    ended: Arc<AtomicBool>,
    tasks: Tasks,
}

impl Running {
    fn is(&self, wanted: &Wanted) -> bool {
        self.spec == wanted.spec
            && Arc::ptr_eq(&self.component, &wanted.entry.component)
            && self.to.is(&wanted.to)
            && !self.ended.load(Ordering::Acquire)
    }
}

impl Keeper {
    /// Compares and acts. `false` when something is to be tried again. `shutdown` cuts short what only waits for others,
    /// but not what is under way in a subscription that ends.
    async fn look(&mut self, shutdown: &Shutdown) -> bool {
        let app = self.server.app.load_full().filter(|app| app.is_healthy());
        let mut complete = true;
        let mut wanted = self.wanted_by_outboxes();
        if let Some(app) = app {
            complete = shutdown.unless(self.ask(&app)).await.unwrap_or(false);
            wanted.extend(self.wanted(&app));
        }
        let (gone, missing) = self.compare(wanted);
        stop_all(gone).await;
        for one in missing {
            match shutdown.unless(self.start(one)).await {
                Some(Ok(running)) => self.running.push(running),
                Some(Err(again)) => complete &= !again,
                None => return false,
            }
        }
        complete
    }

    /// What runs and should not, which is taken out, and what should and does not. There may be thousands: each is looked
    /// for among those of its topic alone.
    fn compare(&mut self, wanted: Vec<Wanted>) -> (Vec<Running>, Vec<Wanted>) {
        let mut by_topic: HashMap<_, Vec<usize>> = HashMap::new();
        for (at, one) in wanted.iter().enumerate() {
            by_topic.entry(one.spec.key()).or_default().push(at);
        }
        let mut runs = vec![false; wanted.len()];
        let mut gone = Vec::new();
        for running in std::mem::take(&mut self.running) {
            let mut places = by_topic.get(&running.spec.key()).into_iter().flatten();
            match places.find(|at| running.is(&wanted[**at])) {
                Some(at) => {
                    runs[*at] = true;
                    self.running.push(running);
                }
                None => gone.push(running),
            }
        }
        drop(by_topic);
        let missing = wanted.into_iter().zip(runs).filter(|(_, runs)| !runs);
        (gone, missing.map(|(one, _)| one).collect())
    }

    /// Asks the application what it wants, if it has not said so yet. Without a component there is nothing to want.
    async fn ask(&mut self, app: &Arc<AppChannel>) -> bool {
        let known = self.asked.as_ref().is_some_and(|asked| Arc::ptr_eq(asked, app));
        if known || self.server.components.load().pubsubs().next().is_none() {
            return true;
        }
        if self.server.subscriptions.asks() {
            let Some(specs) = programmatic::ask(app, &self.server.resiliency).await else {
                return false;
            };
            self.server.subscriptions.set_programmatic(specs);
        } else {
            tracing::warn!("Skipping programmatic subscription loading (see 'disable-init-endpoints')");
        }
        self.asked = Some(app.clone());
        true
    }

    fn wanted(&self, app: &Arc<AppChannel>) -> Vec<Wanted> {
        let components = self.server.components.load();
        let specs = self.server.subscriptions.of_application(&components.subscriptions);
        let with_component = specs.into_iter().filter_map(|(spec, _)| {
            let entry = components.pubsub(&spec.pubsub)?.clone();
            Some(Wanted {
                spec,
                entry,
                to: To::Application(app.clone()),
            })
        });
        with_component.collect()
    }

    /// What the state stores' outboxes have promised, as far as there is the component that holds it.
    fn wanted_by_outboxes(&self) -> Vec<Wanted> {
        let components = self.server.components.load();
        let mut by_topic: BTreeMap<(&str, String), Vec<Arc<StateEntry>>> = BTreeMap::new();
        for state in components.states() {
            if let Some(outbox) = &state.outbox {
                let topic = outbox.topic(&self.server.app_id, self.server.namespace());
                let stores = by_topic.entry((&outbox.pubsub, topic)).or_default();
                stores.push(state.clone());
            }
        }
        let wanted = by_topic.into_iter().filter_map(|((pubsub, topic), mut stores)| {
            stores.sort_by(|one, other| one.component.name().cmp(other.component.name()));
            Some(Wanted {
                entry: components.pubsub(pubsub)?.clone(),
                spec: Spec {
                    pubsub: pubsub.to_owned(),
                    topic,
                    rules: vec![Default::default()],
                    ..Spec::default()
                },
                to: To::Outbox(stores),
            })
        });
        wanted.collect()
    }

    /// Starts one. On failure: whether trying again may help.
    async fn start(&self, wanted: Wanted) -> Result<Running, bool> {
        let Wanted { spec, entry, to } = wanted;
        let component = entry.component.clone();
        let failed = |reason: &dyn std::fmt::Display| {
            let (pubsub, topic) = (&spec.pubsub, &spec.topic);
            tracing::error!("Failed to start subscription for pubsub {pubsub}, topic {topic}: {reason}");
        };
        // Scopes speak of what applications receive.
        let is_own = matches!(to, To::Outbox(..));
        if !is_own && !component.may_subscribe(&spec.topic) {
            failed(&"the topic is not allowed for this app id");
            return Err(false);
        }
        let subscribed = async {
            if is_own {
                component.subscribe_own(&spec).await
            } else {
                component.subscribe(&spec).await
            }
        };
        let subscription = match timeout(START, subscribed).await {
            Ok(Ok(subscription)) => subscription,
            Ok(Err(error)) => {
                failed(&error);
                return Err(true);
            }
            Err(_) => {
                failed(&"no answer in time");
                return Err(true);
            }
        };
        let stop = Shutdown::new();
        let started = match &to {
            To::Application(app) => {
                let deliver = ToApplication {
                    app: app.clone(),
                    entry,
                    policies: self.server.resiliency.clone(),
                };
                self.run(&component, &spec, deliver, subscription, &stop)
            }
            To::Outbox(stores) => {
                let deliver = Relay {
                    server: self.server.clone(),
                    stores: stores.clone(),
                    stop: stop.clone(),
                };
                self.run(&component, &spec, deliver, subscription, &stop)
            }
        };
        let (tasks, ended) = started.map_err(|error| {
            failed(&error);
            false
        })?;
        Ok(Running {
            spec,
            component,
            to,
            stop,
            ended,
            tasks,
        })
    }

    /// Delivers what a subscription brings, in a task; whether it has ended by itself.
    fn run(
        &self,
        component: &Arc<PubsubComponent>,
        spec: &Spec,
        deliver: impl Deliver,
        subscription: Subscription,
        stop: &Shutdown,
    ) -> Result<(Tasks, Arc<AtomicBool>), ConditionError> {
        let work = run(component.clone(), spec.clone(), deliver, subscription, stop.clone())?;
        let ended = Arc::new(AtomicBool::new(false));
        let (flag, server, stopped) = (ended.clone(), self.server.clone(), stop.clone());
        let mut tasks = Tasks::new();
        tasks.spawn("pubsub-subscription", async move {
            work.await;
            if !stopped.is_triggered() {
                tracing::warn!("a subscription was ended by its component");
                flag.store(true, Ordering::Release);
                server.subscriptions.ring();
            }
        });
        Ok((tasks, ended))
    }
}

/// Stops these side by side; what is under way may finish.
async fn stop_all(running: Vec<Running>) {
    let ends = running.into_iter().map(|one| async move {
        one.stop.trigger();
        if let Err(overdue) = one.tasks.drain(DRAIN).await {
            tracing::warn!(%overdue, topic = one.spec.topic, "a subscription did not end in time");
        }
    });
    join_all(ends).await;
}

#[cfg(test)]
mod tests;
