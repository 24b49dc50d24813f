//! Keeps the running subscriptions equal to those that there should be.
//!
//! One idea: level-triggered. Whatever happens (a component comes, changes or goes, the application appears or falls ill, a
//! subscription ends by itself) only rings a bell; then everything is compared anew, what should not run is stopped and may
//! finish what is under way, what should run is started, what could not be started is tried again. Must never run a
//! subscription for an application that is not healthy, nor the same one twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use palladium_engine_pubsub::{PubsubComponent, Spec, run};
use palladium_tasks::{Backoff, Shutdown, Tasks};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::deliver::ToApplication;
use super::{PubsubEntry, programmatic};
use crate::app_channel::AppChannel;
use crate::server::Server;

/// How long a broker may take to accept a subscription.
const START: Duration = Duration::from_secs(30);
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
    stop_all(std::mem::take(&mut keeper.running)).await;
}

struct Keeper {
    server: Arc<Server>,
    running: Vec<Running>,
    /// The application that has said what it wants.
    asked: Option<Arc<AppChannel>>,
}

/// What has to be equal for a subscription to go on.
struct Wanted {
    spec: Spec,
    entry: Arc<PubsubEntry>,
    app: Arc<AppChannel>,
}

struct Running {
    spec: Spec,
    component: Arc<PubsubComponent>,
    app: Arc<AppChannel>,
    stop: Shutdown,
    ended: Arc<AtomicBool>,
    tasks: Tasks,
}

impl Running {
    fn is(&self, wanted: &Wanted) -> bool {
        self.spec == wanted.spec
            && Arc::ptr_eq(&self.component, &wanted.entry.component)
            && Arc::ptr_eq(&self.app, &wanted.app)
            && !self.ended.load(Ordering::Acquire)
    }
}

impl Keeper {
    /// Compares and acts. `false` when something is to be tried again. `shutdown` cuts short what only waits for others,
    /// but not what is under way in a subscription that ends.
    async fn look(&mut self, shutdown: &Shutdown) -> bool {
        let app = self.server.app.load_full().filter(|app| app.is_healthy());
        let mut complete = true;
        let mut wanted = Vec::new();
        if let Some(app) = app {
            complete = shutdown.unless(self.ask(&app)).await.unwrap_or(false);
            wanted = self.wanted(&app);
        }
        let (keep, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|running| wanted.iter().any(|wanted| running.is(wanted)));
        self.running = keep;
        stop_all(gone).await;
        for one in wanted {
            if !self.running.iter().any(|running| running.is(&one)) {
                match shutdown.unless(self.start(one)).await {
                    Some(Ok(running)) => self.running.push(running),
                    Some(Err(again)) => complete &= !again,
                    None => return false,
                }
            }
        }
        complete
    }

    /// Asks the application what it wants, if it has not said so yet. Without a component there is nothing to want.
    async fn ask(&mut self, app: &Arc<AppChannel>) -> bool {
        let known = self.asked.as_ref().is_some_and(|asked| Arc::ptr_eq(asked, app));
        if known || self.server.components.load().pubsubs().next().is_none() {
            return true;
        }
        if self.server.subscriptions.asks() {
            let Some(specs) = programmatic::ask(app).await else {
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
                app: app.clone(),
            })
        });
        with_component.collect()
    }

    /// Starts one. On failure: whether trying again may help.
    async fn start(&self, wanted: Wanted) -> Result<Running, bool> {
        let Wanted { spec, entry, app } = wanted;
        let component = entry.component.clone();
        let failed = |reason: &dyn std::fmt::Display| {
            let (pubsub, topic) = (&spec.pubsub, &spec.topic);
            tracing::error!("Failed to start subscription for pubsub {pubsub}, topic {topic}: {reason}");
        };
        if !component.may_subscribe(&spec.topic) {
            failed(&"the topic is not allowed for this app id");
            return Err(false);
        }
        let subscription = match timeout(START, component.subscribe(&spec)).await {
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
        let deliver = ToApplication {
            app: app.clone(),
            entry,
            policies: self.server.resiliency.clone(),
        };
        let stop = Shutdown::new();
        let work = match run(component.clone(), spec.clone(), deliver, subscription, stop.clone()) {
            Ok(work) => work,
            Err(error) => {
                failed(&error);
                return Err(false);
            }
        };
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
        Ok(Running {
            spec,
            component,
            app,
            stop,
            ended,
            tasks,
        })
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
