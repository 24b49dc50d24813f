//! Keeps what this Dapr Server does equal to the resources that the agent hands out: Configuration, components,
//! subscriptions, resiliency policies, HTTP endpoints.
//!
//! One idea: an event of any kind only says "look again", and looking is reading all of them, the Configuration first: it
//! says who may call and what may be loaded. What cannot be used is reported and leaves what was there before. Must never
//! let a call be served before a Configuration has been in force, be it an empty one: without the one that its owner relies
//! on, everybody could call.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, SelectAll};
use futures_util::{StreamExt as _, TryStreamExt as _};
use palladium_component::Hosting;
use palladium_proto::operator::{
    ComponentUpdateRequest, ConfigurationUpdateRequest, GetConfigurationRequest, HttpEndpointUpdateRequest,
    ListComponentsRequest, ListHttpEndpointsRequest, ListResiliencyRequest, ListSubscriptionsRequest,
    ResiliencyUpdateRequest, SubscriptionUpdateRequest,
};
use palladium_proto::region::{AppServerState, LoadResult};
use palladium_tasks::Shutdown;
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Status, Streaming};

use super::{Agent, StoreConnector, backoff, speaks_http};
use crate::components::Opener;
use crate::loader::Loader;
use crate::resiliency;
use crate::resources::{Component, Configuration, HttpEndpoint, References, ResiliencyResource, read_subscription};
use crate::rules::Rules;
use crate::server::Server;

const COMPONENT: &str = "Component";
const CONFIGURATION: &str = "Configuration";
const HTTP_ENDPOINT: &str = "HTTPEndpoint";
const RESILIENCY: &str = "Resiliency";
const SUBSCRIPTION: &str = "Subscription";

/// When a component that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Events that come together are one look.
const SETTLE: Duration = Duration::from_millis(20);
/// And how long at most, when changes do not end.
const SETTLE_MOST: Duration = Duration::from_secs(1);
const LIST_DEADLINE: Duration = Duration::from_secs(30);
/// Where the App ID's components keep files, below its own folder.
const FILES: &str = "files";

type State = watch::Receiver<Option<Arc<AppServerState>>>;
type Events = SelectAll<BoxStream<'static, Result<(), Status>>>;

/// Follows until `shutdown`; `first` is told when the first look is in effect.
pub(super) async fn follow(
    server: Arc<Server>,
    agent: Arc<Agent>,
    state: State,
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
            state: state.clone(),
        })),
        pluggable: Vec::new(),
        secrets: Default::default(),
    };
    let mut keeper = Keeper {
        loader: Loader::new(server.clone(), opener),
        server,
        agent,
        state,
        configuration: None,
        policies: None,
        unusable: Vec::new(),
        first: Some(first),
    };
    let mut backoff = backoff();
    while !shutdown.is_triggered() {
        match shutdown.unless(keeper.session(&mut backoff)).await {
            None => return,
            Some(Ok(never)) => match never {},
            Some(Err(status)) => tracing::warn!(%status, "no resources from the agent; going on with the last ones"),
        }
        if shutdown.unless(sleep(backoff.next_delay())).await.is_none() {
            return;
        }
    }
}

struct Keeper {
    server: Arc<Server>,
    agent: Arc<Agent>,
    loader: Loader,
    state: State,
    /// The one in force; `None` before the first.
    configuration: Option<Configuration>,
    /// What the policies in force were made of: circuit breakers outlive a look that changes nothing.
    policies: Option<Vec<Bytes>>,
    /// Policies that cannot be used, and why.
    unusable: Vec<(String, String)>,
    first: Option<oneshot::Sender<()>>,
}

/// Everything that the agent hands out, as it comes.
struct Listed {
    configuration: Bytes,
    components: Vec<Bytes>,
    subscriptions: Vec<Bytes>,
    resiliencies: Vec<Bytes>,
    http_endpoints: Vec<Bytes>,
}

impl Keeper {
    /// One set of streams: subscribe first, then look, so that no change falls between.
    async fn session(&mut self, backoff: &mut palladium_tasks::Backoff) -> Result<Infallible, Status> {
        let mut events = self.subscribe().await?;
        loop {
            let complete = self.look().await?;
            backoff.reset();
            let next = async {
                events.try_next().await?;
                let end = Instant::now() + SETTLE_MOST;
                while Instant::now() < end
                    && let Ok(more) = timeout(SETTLE, events.try_next()).await
                {
                    more?;
                }
                Ok::<_, Status>(())
            };
            if complete {
                next.await?;
            } else if let Ok(next) = timeout(RETRY, next).await {
                next?;
            }
        }
    }

    async fn subscribe(&self) -> Result<Events, Status> {
        let namespace = &self.agent.project_id;
        let mut operator = self.agent.operator();
        let components = operator.component_update(ComponentUpdateRequest {
            namespace: namespace.clone(),
        });
        let components = told(components.await?.into_inner());
        let configuration = operator.configuration_update(ConfigurationUpdateRequest {
            namespace: namespace.clone(),
        });
        let configuration = told(configuration.await?.into_inner());
        let subscriptions = operator.subscription_update(SubscriptionUpdateRequest {
            namespace: namespace.clone(),
        });
        let subscriptions = told(subscriptions.await?.into_inner());
        let resiliencies = operator.resiliency_update(ResiliencyUpdateRequest {
            namespace: namespace.clone(),
        });
        let resiliencies = told(resiliencies.await?.into_inner());
        let http_endpoints = operator.http_endpoint_update(HttpEndpointUpdateRequest {
            namespace: namespace.clone(),
        });
        let http_endpoints = told(http_endpoints.await?.into_inner());
        let all = [
            components,
            configuration,
            subscriptions,
            resiliencies,
            http_endpoints,
            protocols(self.state.clone()),
        ];
        Ok(stream::select_all(all))
    }

    async fn list(&self) -> Result<Listed, Status> {
        let namespace = &self.agent.project_id;
        let mut operator = self.agent.operator();
        let configuration = operator.get_configuration(GetConfigurationRequest {
            namespace: namespace.clone(),
            ..Default::default()
        });
        let configuration = configuration.await?.into_inner().configuration;
        let components = operator.list_components(ListComponentsRequest {
            namespace: namespace.clone(),
        });
        let components = components.await?.into_inner().components;
        let subscriptions = operator.list_subscriptions_v2(ListSubscriptionsRequest {
            namespace: namespace.clone(),
        });
        let subscriptions = subscriptions.await?.into_inner().subscriptions;
        let resiliencies = operator.list_resiliency(ListResiliencyRequest {
            namespace: namespace.clone(),
        });
        let resiliencies = resiliencies.await?.into_inner().resiliencies;
        let http_endpoints = operator.list_http_endpoints(ListHttpEndpointsRequest {
            namespace: namespace.clone(),
        });
        let http_endpoints = http_endpoints.await?.into_inner().http_endpoints;
        Ok(Listed {
            configuration,
            components,
            subscriptions,
            resiliencies,
            http_endpoints,
        })
    }

    /// Puts what the agent hands out into effect. `false` when a component could not be opened.
    async fn look(&mut self) -> Result<bool, Status> {
        let listed = timeout(LIST_DEADLINE, self.list())
            .await
            .map_err(|_| Status::deadline_exceeded("the agent did not list the resources in time"))??;
        let mut loads = Vec::new();
        self.configure(&listed.configuration, &mut loads);
        let Some(configuration) = &self.configuration else {
            self.agent.report_loads(loads, false).await;
            return Err(Status::failed_precondition(
                "the Configuration cannot be used, and nothing is served without it",
            ));
        };
        let (app_id, namespace) = (self.server.app_id.clone(), self.server.namespace.clone());
        let mut components = Vec::new();
        for document in &listed.components {
            let read = read(COMPONENT, document, &mut loads, |document| {
                Component::read(document, &app_id, &namespace, References::Resolved)
            });
            let Some((mut about, Some(component))) = read else {
                continue;
            };
            if configuration.denies_component(&component.kind, component.version_or_default()) {
                about.message = "components of this type are denied by the App ID's Configuration".to_owned();
                loads.push(about);
                continue;
            }
            components.push(component);
        }
        let mut subscriptions = Vec::new();
        for document in &listed.subscriptions {
            let read = read(SUBSCRIPTION, document, &mut loads, |document| {
                read_subscription(document, &app_id, &namespace)
            });
            if let Some((about, subscription)) = read {
                subscriptions.extend(subscription);
                loads.push(usable(about));
            }
        }
        self.set_policies(listed.resiliencies, &mut loads);
        self.loader.load(components, subscriptions).await;
        self.set_endpoints(&listed.http_endpoints, &mut loads).await;
        let mut complete = true;
        for loaded in self.loader.loaded() {
            let (declared, failure) = (&loaded.declared, loaded.failure());
            complete &= failure.is_none();
            loads.push(LoadResult {
                kind: COMPONENT.to_owned(),
                name: declared.name.clone(),
                uid: declared.uid.clone(),
                generation: declared.generation,
                ok: failure.is_none(),
                message: failure.map(ToString::to_string).unwrap_or_default(),
            });
        }
        self.agent.report_loads(loads, true).await;
        if let Some(first) = self.first.take() {
            let _ = first.send(());
        }
        Ok(complete)
    }

    /// Puts a Configuration into force; one that cannot be used leaves the one before.
    fn configure(&mut self, document: &Bytes, loads: &mut Vec<LoadResult>) {
        let http = speaks_http(self.state.borrow().as_deref());
        let server = self.server.clone();
        let made = |configuration: &Configuration| {
            let rules = Rules::new(configuration, http).map_err(|error| error.to_string())?;
            server.observe(configuration).map_err(|error| error.to_string())?;
            Ok::<_, String>(rules)
        };
        let (about, configuration, rules) = if document.is_empty() {
            // The App ID names none.
            let configuration = Configuration::default();
            let Ok(rules) = made(&configuration) else { return };
            (None, configuration, rules)
        } else {
            let read = read(CONFIGURATION, document, loads, |document| {
                let mut configuration = Configuration::default();
                configuration.overlay(document)?;
                let rules = made(&configuration)?;
                Ok((configuration, rules))
            });
            let Some((about, (configuration, rules))) = read else {
                return;
            };
            (Some(about), configuration, rules)
        };
        self.server.rules.store(Arc::new(rules));
        self.configuration = Some(configuration);
        loads.extend(about.map(usable));
    }

    fn set_policies(&mut self, documents: Vec<Bytes>, loads: &mut Vec<LoadResult>) {
        let (mut abouts, mut resources) = (Vec::new(), Vec::new());
        for document in &documents {
            let read = read(RESILIENCY, document, loads, |document| {
                ResiliencyResource::read(document, &self.server.app_id)
            });
            if let Some((about, Some(resource))) = read {
                abouts.push(about);
                resources.push(resource);
            }
        }
        if self.policies.as_ref() != Some(&documents) {
            self.policies = Some(documents);
            self.unusable = resiliency::load(&self.server, resources);
        }
        judge(abouts, &self.unusable, loads);
    }

    /// After the components: an endpoint may refer to a secret store.
    async fn set_endpoints(&mut self, documents: &[Bytes], loads: &mut Vec<LoadResult>) {
        let (mut abouts, mut endpoints) = (Vec::new(), Vec::new());
        let (app_id, namespace) = (&self.server.app_id, &self.server.namespace);
        for document in documents {
            let read = read(HTTP_ENDPOINT, document, loads, |document| {
                HttpEndpoint::read(document, app_id, namespace, References::Resolved)
            });
            if let Some((about, Some(endpoint))) = read {
                abouts.push(about);
                endpoints.push(endpoint);
            }
        }
        self.loader.complete(&mut endpoints).await;
        let unusable = self.server.invoke.endpoints.set(endpoints);
        judge(abouts, &unusable, loads);
    }
}

/// Reads one document, and what a report says about it; what cannot be read is in the report already.
fn read<T>(
    kind: &str,
    document: &Bytes,
    loads: &mut Vec<LoadResult>,
    read: impl FnOnce(Value) -> Result<T, String>,
) -> Option<(LoadResult, T)> {
    let mut about = LoadResult {
        kind: kind.to_owned(),
        ..LoadResult::default()
    };
    let parsed = serde_json::from_slice(document)
        // Where it stands, not what: the text may hold a secret.
        .map_err(|error| format!("not JSON (line {}, column {})", error.line(), error.column()))
        .and_then(|document: Value| {
            let metadata = &document["metadata"];
            let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
            (about.name, about.uid) = (text("name"), text("uid"));
            about.generation = metadata["generation"].as_u64().unwrap_or_default();
            read(document)
        });
    match parsed {
        Ok(value) => Some((about, value)),
        Err(message) => {
            tracing::warn!(kind, message, "a resource from the agent cannot be read");
            loads.push(LoadResult { message, ..about });
            None
        }
    }
}

/// Reports on resources of one kind: those that are not among the unusable are in use.
fn judge(abouts: Vec<LoadResult>, unusable: &[(String, String)], loads: &mut Vec<LoadResult>) {
    let why: HashMap<&str, &str> = unusable
        .iter()
        .map(|(name, why)| (name.as_str(), why.as_str()))
        .collect();
    loads.extend(abouts.into_iter().map(|about| match why.get(about.name.as_str()) {
        Some(&why) => LoadResult {
            message: why.to_owned(),
            ..about
        },
        None => usable(about),
    }));
}

fn usable(about: LoadResult) -> LoadResult {
    LoadResult { ok: true, ..about }
}

/// The events of one stream, whatever they say; its end is the end of all.
fn told<M: Send + 'static>(stream: Streaming<M>) -> BoxStream<'static, Result<(), Status>> {
    let ended = stream::once(async { Err(Status::unavailable("the agent ended a stream of resources")) });
    stream.map_ok(drop).chain(ended).boxed()
}

/// An event whenever the application speaks another protocol: access control reads paths by it.
fn protocols(state: State) -> BoxStream<'static, Result<(), Status>> {
    let before = speaks_http(state.borrow().as_deref());
    let changes = stream::unfold((state, before), async |(mut state, before)| {
        loop {
            state.changed().await.ok()?;
            let now = speaks_http(state.borrow_and_update().as_deref());
            if now != before {
                return Some((Ok(()), (state, now)));
            }
        }
    });
    changes.boxed()
}
