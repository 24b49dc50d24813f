//! The configuration API: what HTTP and gRPC share.
//!
//! One idea: a subscription is a name for what keeps a driver's changes coming, and belongs to its component: it ends with
//! it, or by whoever drops it. Changes go to the application or into the caller's stream. An application that starts anew
//! without unsubscribing leaves its old ones behind: the oldest of these makes room. Must never keep a component alive that
//! was removed, nor more subscriptions than [`MOST`].

mod deliver;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use palladium_component::configuration::{Items, Listener, Listening, Selection};
use palladium_engine_configuration::ConfigurationError;
use palladium_engine_resiliency::ComponentKind;
use uuid::Uuid;

pub(crate) use deliver::{ToApp, written};

use crate::entry::ConfigurationEntry;
use crate::errors::Fault;
use crate::resiliency::outbound;
use crate::server::Server;

/// Most subscriptions of one component at a time.
const MOST: usize = 256;

/// As HTTP callers see it.
pub(crate) fn http_fault(error: &ConfigurationError) -> Fault {
    let category = match error {
        ConfigurationError::NoApp => "common",
        _ => "configuration",
    };
    Fault {
        report: error.http(),
        category,
    }
}

/// As gRPC callers see it.
pub(crate) fn grpc_fault(error: &ConfigurationError) -> Fault {
    Fault {
        report: error.grpc(),
        category: "configuration",
    }
}

/// The component of that name.
pub(crate) fn find(server: &Server, store: &str) -> Result<Arc<ConfigurationEntry>, ConfigurationError> {
    let components = server.components.load();
    if components.configuration_stores().next().is_none() {
        return Err(ConfigurationError::NotConfigured);
    }
    let found = components.configuration_store(store).cloned();
    let store = || store.to_owned();
    found.ok_or_else(|| ConfigurationError::NotFound { store: store() })
}

/// Reads items.
pub(crate) async fn get(server: &Server, store: &str, selection: &Selection) -> Result<Items, ConfigurationError> {
    let entry = find(server, store)?;
    let start = Instant::now();
    let policy = outbound(server, store, ComponentKind::Configuration);
    let found = policy.run(|_| entry.store.driver.get(selection)).await;
    entry.store.calls.observe("get", found.is_ok(), start.elapsed());
    found.map_err(|error| ConfigurationError::Get {
        store: store.to_owned(),
        keys: selection.keys.clone(),
        reason: error.to_string(),
    })
}

/// Begins to tell a listener of changes, under a name.
pub(crate) async fn subscribe(
    server: &Server,
    entry: &ConfigurationEntry,
    selection: &Selection,
    id: &str,
    listener: Arc<dyn Listener>,
    is_stream: bool,
) -> Result<(), ConfigurationError> {
    let store = &entry.store;
    let start = Instant::now();
    let policy = outbound(server, &store.name, ComponentKind::Configuration);
    let listening = policy
        .run(|_| store.driver.subscribe(selection, listener.clone()))
        .await;
    store.calls.observe("subscribe", listening.is_ok(), start.elapsed());
    let failed = |reason: String| ConfigurationError::Subscribe {
        store: store.name.clone(),
        keys: selection.keys.clone(),
        reason,
    };
    let _listening = listening.map_err(|error| failed(error.to_string()))?;
    let subscribed = Subscribed { is_stream, _listening };
    match entry.subscriptions.add(id, subscribed) {
        true => Ok(()),
        false => Err(failed(format!("there are {MOST} subscriptions of streams already"))),
    }
}

/// Ends a subscription of a component. `false`: there is none of that name.
pub(crate) fn unsubscribe(entry: &ConfigurationEntry, id: &str) -> bool {
    let start = Instant::now();
    let ended = entry.subscriptions.end(id, |_| true);
    entry.store.calls.observe("unsubscribe", ended, start.elapsed());
    ended
}

/// A name for a subscription.
pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// One subscription.
struct Subscribed {
    /// Whether its changes go into a stream of the caller.
    is_stream: bool,
    _listening: Listening,
}

/// The subscriptions of one component with their names, the oldest first.
#[derive(Default)]
pub struct Subscriptions(Mutex<Vec<(String, Subscribed)>>);

impl Subscriptions {
    /// A panic under this lock leaves a list that is still whole.
    fn all(&self) -> MutexGuard<'_, Vec<(String, Subscribed)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one; where there is no room for it, the oldest ends that is not of a stream. `false`: there is none.
    fn add(&self, id: &str, subscribed: Subscribed) -> bool {
        let mut all = self.all();
        let mut ended = None;
        if all.len() >= MOST {
            let Some(oldest) = all.iter().position(|(_, one)| !one.is_stream) else {
                return false;
            };
            ended = Some(all.remove(oldest));
        }
        all.push((id.to_owned(), subscribed));
        // What ends must not run under the lock.
        drop(all);
        if let Some((id, _)) = &ended {
            tracing::warn!("There are {MOST} configuration subscriptions: the oldest, {id}, ends");
        }
        true
    }

    fn end(&self, id: &str, is_meant: impl Fn(&Subscribed) -> bool) -> bool {
        let mut all = self.all();
        let found = all.iter().position(|(name, one)| name == id && is_meant(one));
        let ended = found.map(|at| all.remove(at));
        // What ends with it must not run under the lock.
        drop(all);
        ended.is_some()
    }

    /// Ends a stream. `false`: there is none of that name.
    pub(crate) fn end_stream(&self, id: &str) -> bool {
        self.end(id, |subscribed| subscribed.is_stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribed(is_stream: bool) -> Subscribed {
        Subscribed {
            is_stream,
            _listening: Box::new(()),
        }
    }

    #[test]
    fn subscriptions_end_once_and_by_whoever_may() {
        let all = Subscriptions::default();
        for (id, is_stream) in [("1", true), ("2", false)] {
            assert!(all.add(id, subscribed(is_stream)));
        }
        assert!(all.end_stream("1") && !all.end_stream("1"));
        assert!(!all.end_stream("2"), "that is none");
        assert!(all.end("2", |_| true) && !all.end("2", |_| true));
    }

    #[test]
    fn the_oldest_makes_room_unless_it_is_a_streams() {
        let all = Subscriptions::default();
        assert!(all.add("stream", subscribed(true)));
        for id in 1..MOST {
            assert!(all.add(&id.to_string(), subscribed(false)));
        }
        assert!(all.add("one more", subscribed(false)));
        assert_eq!(all.all().len(), MOST);
        assert!(!all.end("1", |_| true), "the oldest has ended");
        assert!(all.end("2", |_| true) && all.end("one more", |_| true) && all.end_stream("stream"));
    }

    #[test]
    fn no_more_streams_than_allowed() {
        let all = Subscriptions::default();
        for id in 0..MOST {
            assert!(all.add(&id.to_string(), subscribed(true)));
        }
        assert!(!all.add("one more", subscribed(false)) && !all.add("one more", subscribed(true)));
        assert!(all.end_stream("0"));
    }

    /// Asks its list for another subscription when it ends.
    struct Asks(Arc<Subscriptions>);

    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.end("none", |_| true);
        }
    }

    #[test]
    fn what_makes_room_ends_outside_of_the_lock() {
        let all = Arc::new(Subscriptions::default());
        for id in 0..=MOST {
            let _listening = Box::new(Asks(all.clone()));
            let is_stream = false;
            assert!(all.add(&id.to_string(), Subscribed { is_stream, _listening }));
        }
        assert!(all.end("1", |_| true));
    }
}
