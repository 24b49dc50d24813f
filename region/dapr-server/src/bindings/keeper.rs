//! Keeps the bindings whose events are handed to the application equal to those that should be.
//!
//! One idea: level-triggered, as with subscriptions: a component that comes or goes rings a bell, the application's health is
//! looked at while there is any binding with events. A stopped one hands out nothing more and may finish what is under way.
//! Must never listen for an application that is not healthy, nor twice to one binding.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use palladium_component::bindings::{Event, Listener, Listening};
use palladium_component::reply::BoxFuture;
use palladium_engine_resiliency::{ComponentKind, Policy};
use palladium_tasks::Shutdown;
use tokio::time::{Instant, sleep, timeout};

use super::deliver;
use crate::app_channel::AppChannel;
use crate::entry::BindingEntry;
use crate::resiliency::told;
use crate::server::Server;

/// How often the application's health is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long a stopped binding may take to finish what is under way.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a service may take to say that it hands out events.
const START: Duration = Duration::from_secs(30);
/// Until one that failed is tried again.
const PAUSE: Duration = Duration::from_secs(5);
/// For the answer to the last event to reach the service.
const SETTLE: Duration = Duration::from_millis(100);

/// Keeps them until `shutdown`.
pub async fn keep(server: Arc<Server>, shutdown: Shutdown) {
    let mut running: Vec<Running> = Vec::new();
    while !shutdown.is_triggered() {
        let any = look(&server, &mut running, &shutdown).await;
        let again = if any { LOOK } else { Duration::MAX };
        tokio::select! {
            () = shutdown.wait() => break,
            () = server.bindings.rung() => {}
            () = sleep(again) => {}
        }
    }
    stop_all(running).await;
}

struct Running {
    entry: Arc<BindingEntry>,
    app: Arc<AppChannel>,
    gate: Arc<Gate>,
    /// `None`: the application does not want its events or could not be asked, or it failed.
    listening: Option<Listening>,
    /// When one that failed is tried again.
    again: Option<Instant>,
}

/// Lets events through while it is open, and counts them.
#[derive(Default)]
struct Gate {
    closed: AtomicBool,
    under_way: AtomicUsize,
}

struct Passing(Arc<Gate>);

impl Gate {
    fn enter(self: &Arc<Self>) -> Option<Passing> {
        // Counted before the look, so that whoever closes it sees whoever came through.
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let passing = Passing(self.clone());
        (!self.closed.load(Ordering::SeqCst)).then_some(passing)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

struct ToApplication {
    server: Weak<Server>,
    app: Arc<AppChannel>,
    entry: Weak<BindingEntry>,
    gate: Arc<Gate>,
}

impl Listener for ToApplication {
    fn event(&self, event: Event) -> BoxFuture<'static, Result<Option<Bytes>, String>> {
        let (server, app, gate) = (self.server.clone(), self.app.clone(), self.gate.clone());
        let entry = self.entry.upgrade();
        Box::pin(async move {
            let (Some(_passing), Some(entry)) = (gate.enter(), entry) else {
                return Err("input binding is closed".to_owned());
            };
            let start = Instant::now();
            let policy = server.upgrade().map_or_else(Policy::default, |server| {
                server.resiliency.inbound(&entry.out.name, ComponentKind::Binding)
            });
            let handled = told(&policy, || deliver::event(&server, &app, &entry, event.clone())).await;
            let handled = handled.map_err(|said| said.words);
            entry.events.observe("", handled.is_ok(), start.elapsed());
            if let Err(error) = &handled {
                let name = &entry.out.name;
                tracing::debug!("error from app consumer for binding [{name}]: {error}");
            }
            handled
        })
    }
}

/// Compares and acts. Whether there is any binding with events.
async fn look(server: &Arc<Server>, running: &mut Vec<Running>, shutdown: &Shutdown) -> bool {
    let inputs: Vec<Arc<BindingEntry>> = {
        let components = server.components.load();
        components.bindings().filter(|entry| entry.is_input).cloned().collect()
    };
    let app = server.app.load_full().filter(|app| app.is_healthy());
    let stays = |one: &Running| {
        let listed = inputs.iter().any(|entry| Arc::ptr_eq(entry, &one.entry));
        let waits = one.again.is_none_or(|again| Instant::now() < again);
        listed && waits && app.as_ref().is_some_and(|app| Arc::ptr_eq(app, &one.app))
    };
    let (keep, gone): (Vec<_>, Vec<_>) = std::mem::take(running).into_iter().partition(stays);
    *running = keep;
    stop_all(gone).await;
    let Some(app) = app else { return !inputs.is_empty() };
    for entry in &inputs {
        if running.iter().any(|one| Arc::ptr_eq(&one.entry, entry)) {
            continue;
        }
        match shutdown.unless(start(server, &app, entry)).await {
            Some(one) => running.push(one),
            None => return false,
        }
    }
    !inputs.is_empty()
}

async fn start(server: &Arc<Server>, app: &Arc<AppChannel>, entry: &Arc<BindingEntry>) -> Running {
    let mut one = Running {
        entry: entry.clone(),
        app: app.clone(),
        gate: Arc::default(),
        listening: None,
        again: None,
    };
    let name = &entry.out.name;
    match deliver::is_wanted(app, entry).await {
        Ok(true) => {}
        Ok(false) => {
            tracing::info!("app has not subscribed to binding {name}.");
            return one;
        }
        Err(reason) => {
            tracing::warn!("app could not be asked whether it wants binding {name}: {reason}");
            one.again = Some(Instant::now() + PAUSE);
            return one;
        }
    }
    let listener = ToApplication {
        server: Arc::downgrade(server),
        app: app.clone(),
        entry: Arc::downgrade(entry),
        gate: one.gate.clone(),
    };
    let failed = match timeout(START, entry.out.driver.listen(Arc::new(listener))).await {
        Ok(Ok(listening)) => {
            one.listening = Some(listening);
            return one;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", START.as_secs()),
    };
    tracing::error!("error reading from input binding {name}: {failed}");
    one.again = Some(Instant::now() + PAUSE);
    one
}

/// Stops these side by side; what is under way may finish.
async fn stop_all(running: Vec<Running>) {
    let stops = running.into_iter().filter_map(|one| {
        let listening = one.listening?;
        let gate = one.gate;
        Some(async move {
            gate.closed.store(true, Ordering::SeqCst);
            let until = Instant::now() + DRAIN;
            let busy = || gate.under_way.load(Ordering::SeqCst) > 0;
            if busy() {
                while busy() && Instant::now() < until {
                    sleep(Duration::from_millis(10)).await;
                }
                sleep(SETTLE).await;
            }
            drop(listening);
        })
    });
    join_all(stops).await;
}

#[cfg(test)]
mod tests;
