//! What the agent tells this Dapr Server, and what it is told back.
//!
//! One idea: level-triggered. Every message of `WatchAppServer` is the whole state; an event about a resource only says
//! "look again", and looking is reading them all. So a lost stream, a repeated message or a restart of the agent need no
//! care. Secrets arrive inside resources and stay in memory. Must never write a resource to disk or a log, nor speak
//! to an agent or store whose SPIFFE ID is not exactly the expected one.

mod apply;
mod resources;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use palladium_component::reply::BoxFuture;
use palladium_component::{Connector as ComponentConnector, Duplex};
use palladium_launch::DaprServerConfig;
use palladium_proto::operator::operator_client::OperatorClient;
use palladium_proto::region::workload_client::WorkloadClient;
use palladium_proto::region::{AppServerState, LoadResult, ReportRequest, WatchRequest};
use palladium_spiffe::SpiffeId;
use palladium_tasks::{Backoff, Shutdown, Tasks};
use palladium_tls::{ALPN_H2, Connector, SvidSource, TrustBundles, exactly, mtls_client_config};
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::invoke::peers::Identity;
use crate::platform::{Error, parse};
use crate::server::Server;

/// The protocol of an application that speaks gRPC; any other speaks HTTP.
const GRPC: &str = "grpc";
/// Opening a connection, handshake included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// The kind of what a report says about the App ID itself.
const APP_IDENTITY: &str = "AppIdentity";

/// The way to the agent, and to the store that the agent names.
pub struct Agent {
    channel: Channel,
    svid: SvidSource,
    bundles: TrustBundles,
    project_id: String,
    data_folder: std::path::PathBuf,
    /// What was said last. Held while it is said, so that an older word never arrives after a newer one.
    said: tokio::sync::Mutex<ReportRequest>,
}

impl Agent {
    /// Nothing is dialled before the first call.
    ///
    /// # Errors
    /// When the agent's address or ID cannot be used.
    pub fn new(config: &DaprServerConfig, svid: &SvidSource, bundles: &TrustBundles) -> Result<Self, Error> {
        let expected = exactly(&parse(&config.agent_id)?);
        let tls = mtls_client_config(svid, bundles, expected, ALPN_H2);
        let connector = Connector::mtls(tls, bundles.clone(), CONNECT_DEADLINE);
        let channel = palladium_tls::channel(connector, &config.agent_address.to_string())
            .map_err(|error| Error::Id(error.to_string()))?;
        Ok(Self {
            channel,
            svid: svid.clone(),
            bundles: bundles.clone(),
            project_id: config.project_id.clone(),
            data_folder: config.data_folder.clone(),
            said: tokio::sync::Mutex::default(),
        })
    }

    fn workload(&self) -> WorkloadClient<Channel> {
        WorkloadClient::new(self.channel.clone())
    }

    fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    /// The other Dapr Servers of the project.
    fn tell_peers(&self, server: &Server, state: &AppServerState) {
        let identity = Identity {
            svid: self.svid.clone(),
            bundles: self.bundles.clone(),
        };
        let table = state.peers.iter().map(|peer| {
            (
                peer.app_id.as_str(),
                peer.spiffe_id.as_str(),
                peer.internal_address.as_str(),
            )
        });
        server.invoke.peers.set_table(&identity, &state.project_name, table);
    }

    /// Settings of this version are in effect, less what could not be used of them.
    async fn report_settings(&self, version: u64, unusable: Option<LoadResult>) {
        self.report(|said| {
            said.applied_version = version;
            said.loads.retain(|load| load.kind != APP_IDENTITY);
            said.loads.extend(unusable);
        })
        .await;
    }

    /// This is what became of the resources; the Dapr Server serves from the first report on that says `ready`.
    async fn report_loads(&self, loads: Vec<LoadResult>, ready: bool) {
        self.report(|said| {
            said.ready |= ready;
            said.loads.retain(|load| load.kind == APP_IDENTITY);
            said.loads.extend(loads);
        })
        .await;
    }

    /// Each report replaces the one before, so what did not change is said again.
    async fn report(&self, change: impl FnOnce(&mut ReportRequest)) {
        let mut said = self.said.lock().await;
        change(&mut said);
        let request = said.clone();
        let call = tokio::time::timeout(CONNECT_DEADLINE, async { self.workload().report(request).await });
        match call.await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => tracing::debug!(%status, "the agent did not take a report"),
            Err(_) => tracing::debug!("the agent did not take a report in time"),
        }
    }
}

/// Follows the agent until the server's shutdown. Returns once settings and components have been applied for the first
/// time, however long the agent is away.
pub async fn follow(server: Arc<Server>, agent: Agent, tasks: &mut Tasks) {
    let agent = Arc::new(agent);
    let (state_tx, state_rx) = watch::channel(None);
    let shutdown = server.shutdown.clone();
    tasks.spawn(
        "watch-app-server",
        follow_state(server.clone(), agent.clone(), state_tx, shutdown.clone()),
    );
    let mut first = state_rx.clone();
    // An error means that the task ended, which it only does at a stop.
    if first.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let (loaded_tx, loaded_rx) = tokio::sync::oneshot::channel();
    tasks.spawn(
        "watch-resources",
        resources::follow(server, agent, state_rx, loaded_tx, shutdown),
    );
    let _ = loaded_rx.await;
}

async fn follow_state(
    server: Arc<Server>,
    agent: Arc<Agent>,
    newest: watch::Sender<Option<Arc<AppServerState>>>,
    shutdown: Shutdown,
) {
    let mut apply = apply::Apply::new(server.clone());
    let mut backoff = backoff();
    while !shutdown.is_triggered() {
        let session = async {
            let mut stream = agent
                .workload()
                .watch_app_server(WatchRequest { known_version: 0 })
                .await?
                .into_inner();
            while let Some(state) = stream.message().await? {
                backoff.reset();
                let version = state.version;
                let state = Arc::new(state);
                let revoked = palladium_identity::revocations(&state.revoked);
                agent.bundles.set_revocations(revoked);
                let unusable = apply.state(&state);
                agent.tell_peers(&server, &state);
                newest.send_replace(Some(state));
                agent.report_settings(version, unusable).await;
            }
            Ok::<_, tonic::Status>(())
        };
        match shutdown.unless(session).await {
            None => return,
            Some(Ok(())) => tracing::debug!("the agent ended the settings stream"),
            Some(Err(status)) => tracing::warn!(%status, "no settings from the agent; going on with the last ones"),
        }
        if shutdown
            .unless(tokio::time::sleep(backoff.next_delay()))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// Whether the application speaks HTTP, as the agent tells it.
fn speaks_http(state: Option<&AppServerState>) -> bool {
    let endpoint = state.and_then(|state| state.endpoint.as_ref());
    endpoint.is_none_or(|endpoint| endpoint.protocol != GRPC)
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
}

/// Streams to the region's store, whose address and ID the agent tells.
struct StoreConnector {
    svid: SvidSource,
    bundles: TrustBundles,
    state: watch::Receiver<Option<Arc<AppServerState>>>,
}

impl std::fmt::Debug for StoreConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreConnector")
    }
}

impl ComponentConnector for StoreConnector {
    fn connect(&self) -> BoxFuture<'static, io::Result<Box<dyn Duplex>>> {
        let state = self.state.borrow().clone();
        let (svid, bundles) = (self.svid.clone(), self.bundles.clone());
        Box::pin(async move {
            let state = state.filter(|state| !state.store_address.is_empty());
            let state = state.ok_or_else(|| io::Error::other("this region has no managed services"))?;
            let id = SpiffeId::parse(&state.store_spiffe_id).map_err(io::Error::other)?;
            let tls = mtls_client_config(&svid, &bundles, exactly(&id), ALPN_H2);
            let connector = Connector::mtls(tls, bundles, CONNECT_DEADLINE);
            let stream: Box<dyn Duplex> = Box::new(connector.connect(&state.store_address).await?);
            Ok(stream)
        })
    }
}

#[cfg(test)]
mod tests;
