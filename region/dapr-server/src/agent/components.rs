//! Keeps the loaded components equal to what the agent lists.
//!
//! One idea: a component is opened again exactly when its declaration's bytes have changed; what could not be opened is
//! tried again after a while. A component that fails never takes another one down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use palladium_component::Hosting;
use palladium_proto::operator::{ComponentUpdateRequest, ListComponentsRequest};
use palladium_proto::region::{AppServerState, LoadResult};
use palladium_tasks::{Shutdown, Tasks};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

use super::{Agent, COMPONENT, StoreConnector, backoff};
use crate::closing;
use crate::components::{Opened, Opener, is_secret_store};
use crate::entry::Entry;
use crate::resources::{Component, References};
use crate::server::{Components, Registered, Server};

/// When a component that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Events that come together are one look.
const SETTLE: Duration = Duration::from_millis(20);
/// And how long at most, when changes do not end.
const SETTLE_MOST: Duration = Duration::from_secs(1);
const LIST_DEADLINE: Duration = Duration::from_secs(30);
/// Where the App ID's components keep files, below its own folder.
const FILES: &str = "files";

/// What is loaded under one name.
struct Loaded {
    digest: [u8; 32],
    uid: String,
    generation: u64,
    outcome: Result<(Entry, Registered), String>,
}

impl Loaded {
    fn into_entry(self) -> Option<Entry> {
        Some(self.outcome.ok()?.0)
    }
}

/// Follows until `shutdown`; `first` is told when the first list is in effect.
pub(super) async fn follow(
    server: Arc<Server>,
    agent: Arc<Agent>,
    state: watch::Receiver<Option<Arc<AppServerState>>>,
    first: oneshot::Sender<()>,
    shutdown: Shutdown,
) {
    let opener = Opener {
        app_id: server.app_id.clone(),
        namespace: server.namespace.clone(),
        // A folder below its own: no component's file can meet those of the process itself.
        hosting: Hosting::Platform {
            folder: agent.data_folder.join(FILES),
        },
        managed: Some(Arc::new(StoreConnector {
            svid: agent.svid.clone(),
            bundles: agent.bundles.clone(),
            state,
        })),
        pluggable: Vec::new(),
        secrets: Default::default(),
    };
    let mut keeper = Keeper {
        server,
        agent,
        opener,
        loaded: BTreeMap::new(),
        first: Some(first),
        closing: Tasks::new(),
    };
    let mut backoff = backoff();
    while !shutdown.is_triggered() {
        match shutdown.unless(keeper.session(&mut backoff)).await {
            None => return,
            Some(Ok(())) => tracing::debug!("the agent ended the component stream"),
            Some(Err(status)) => tracing::warn!(%status, "no components from the agent; going on with the last ones"),
        }
        if shutdown.unless(sleep(backoff.next_delay())).await.is_none() {
            return;
        }
    }
}

struct Keeper {
    server: Arc<Server>,
    agent: Arc<Agent>,
    opener: Opener,
    /// By name: components of one project have different names.
    loaded: BTreeMap<String, Loaded>,
    first: Option<oneshot::Sender<()>>,
    /// Components on their way out; what is still there at the end is ended with the process.
    closing: Tasks,
}

impl Keeper {
    /// One stream: subscribe first, then list, so that no change falls between.
    async fn session(&mut self, backoff: &mut palladium_tasks::Backoff) -> Result<(), Status> {
        let request = ComponentUpdateRequest {
            namespace: self.agent.project_id.clone(),
        };
        let mut events = self.agent.operator().component_update(request).await?.into_inner();
        loop {
            let complete = self.look().await?;
            backoff.reset();
            let next = async {
                let Some(event) = events.message().await? else {
                    return Ok(false);
                };
                drop(event);
                let end = Instant::now() + SETTLE_MOST;
                while Instant::now() < end
                    && let Ok(more) = timeout(SETTLE, events.message()).await
                {
                    if more?.is_none() {
                        return Ok(false);
                    }
                }
                Ok::<_, Status>(true)
            };
            if complete {
                if !next.await? {
                    return Ok(());
                }
            } else if let Ok(next) = timeout(RETRY, next).await
                && !next?
            {
                return Ok(());
            }
        }
    }

    /// Lists, opens what is new or changed, drops what is gone. `false` when something could not be opened.
    async fn look(&mut self) -> Result<bool, Status> {
        let request = ListComponentsRequest {
            namespace: self.agent.project_id.clone(),
        };
        let mut operator = self.agent.operator();
        let listed = timeout(LIST_DEADLINE, operator.list_components(request))
            .await
            .map_err(|_| Status::deadline_exceeded("the agent did not list the components in time"))??
            .into_inner();
        let mut old = std::mem::take(&mut self.loaded);
        let (mut loads, mut new, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for declaration in listed.components {
            let Some(component) = self.read(&declaration, &mut loads) else {
                continue;
            };
            let digest: [u8; 32] = Sha256::digest(&declaration).into();
            match old.remove(&component.name) {
                Some(kept) if kept.digest == digest && kept.outcome.is_ok() => {
                    self.loaded.insert(component.name, kept);
                }
                replaced => {
                    gone.extend(replaced.and_then(Loaded::into_entry));
                    new.push((component, digest));
                }
            }
        }
        // Secret stores first: they resolve what others refer to. Then side by side: one that hangs until its time is over
        // holds up no other.
        let (stores, others): (Vec<_>, Vec<_>) = new
            .into_iter()
            .partition(|(component, _)| is_secret_store(&component.kind));
        for new in [stores, others] {
            let opened = join_all(new.iter().map(|(component, digest)| self.open(component, *digest))).await;
            self.loaded
                .extend(new.into_iter().map(|(component, _)| component.name).zip(opened));
        }
        for (name, removed) in old {
            tracing::info!(component = name, "component removed");
            self.opener.secrets.remove(&name);
            gone.extend(removed.into_entry());
        }
        self.publish();
        for store in gone {
            self.closing.spawn("component-close", closing::retire(store));
        }
        loads.extend(self.loaded.iter().map(|(name, loaded)| LoadResult {
            kind: COMPONENT.to_owned(),
            name: name.clone(),
            uid: loaded.uid.clone(),
            generation: loaded.generation,
            ok: loaded.outcome.is_ok(),
            message: loaded.outcome.as_ref().err().cloned().unwrap_or_default(),
        }));
        let complete = loads.iter().all(|load| load.ok);
        self.agent.report_loads(loads).await;
        if let Some(first) = self.first.take() {
            let _ = first.send(());
        }
        Ok(complete)
    }

    fn read(&self, declaration: &Bytes, loads: &mut Vec<LoadResult>) -> Option<Component> {
        let mut about = Value::Null;
        let read = serde_json::from_slice(declaration)
            // Where it stands, not what: the text may hold a secret.
            .map_err(|error| format!("not JSON (line {}, column {})", error.line(), error.column()))
            .and_then(|document: Value| {
                about = document["metadata"].clone();
                Component::read(
                    document,
                    &self.server.app_id,
                    &self.server.namespace,
                    References::Resolved,
                )
            });
        match read {
            Ok(component) => component,
            Err(message) => {
                tracing::warn!(message, "a component from the agent cannot be read");
                let text = |field: &str| about[field].as_str().unwrap_or_default().to_owned();
                loads.push(LoadResult {
                    kind: COMPONENT.to_owned(),
                    name: text("name"),
                    uid: text("uid"),
                    generation: about["generation"].as_u64().unwrap_or_default(),
                    ok: false,
                    message,
                });
                None
            }
        }
    }

    async fn open(&self, component: &Component, digest: [u8; 32]) -> Loaded {
        let outcome = match self.opener.open(component, &self.server.metrics).await {
            Ok(Opened::Ready(entry, about)) => {
                tracing::info!("Component loaded: {}", component.log_name());
                Ok((entry, about))
            }
            Ok(Opened::Unavailable(_)) => Err(format!("components of type {} cannot be used yet", component.kind)),
            Err(error) => Err(error.to_string()),
        };
        if let Err(message) = &outcome {
            tracing::warn!("Component {} cannot be loaded: {message}", component.log_name());
        }
        Loaded {
            digest,
            uid: component.uid.clone(),
            generation: component.generation,
            outcome,
        }
    }

    fn publish(&self) {
        let good = self.loaded.values().filter_map(|loaded| loaded.outcome.as_ref().ok());
        let (entries, registered): (Vec<_>, Vec<_>) = good.cloned().unzip();
        self.server
            .components
            .store(Arc::new(Components::new(entries, registered, Vec::new())));
        self.server.subscriptions.ring();
        self.server.bindings.ring();
    }
}
