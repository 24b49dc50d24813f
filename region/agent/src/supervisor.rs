//! The supervisor's socket: its process table, starting and stopping Dapr Servers.
//!
//! One idea: the table is watched all the time; commands are sent on the same lazily dialled channel. While the socket is
//! away nothing is assumed. Must never take a lost socket for lost processes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use palladium_proto::supervisor::supervisor_client::SupervisorClient;
use palladium_proto::supervisor::{Process, StartRequest, StopRequest, WatchRequest};
use palladium_tasks::{Backoff, Shutdown};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::region::Region;

const START: Duration = Duration::from_secs(10);
/// Beyond the grace that is given to the process.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// The supervisor. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Supervisor(SupervisorClient<Channel>);

impl Supervisor {
    /// Nothing is dialled before the first call.
    pub(crate) fn new(socket: &Path) -> Self {
        let socket = socket.to_owned();
        let dial = service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://supervisor");
        Self(SupervisorClient::new(endpoint.connect_with_connector_lazy(dial)))
    }

    /// Starts a Dapr Server.
    pub(crate) async fn start(&self, request: StartRequest) -> Result<Process, tonic::Status> {
        let mut request = tonic::Request::new(request);
        request.set_timeout(START);
        Ok(self.0.clone().start(request).await?.into_inner())
    }

    /// Stops a Dapr Server; returns when it is gone.
    pub(crate) async fn stop(&self, name: &str, grace_seconds: u32) -> Result<(), tonic::Status> {
        let mut request = tonic::Request::new(StopRequest {
            name: name.to_owned(),
            grace_seconds,
        });
        request.set_timeout(Duration::from_secs(grace_seconds.into()) + STOP_MARGIN);
        self.0.clone().stop(request).await.map(|_| ())
    }

    /// Keeps the region's view of the process table until `shutdown`.
    pub(crate) async fn follow(self, region: Arc<Region>, shutdown: Shutdown) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            match shutdown.unless(self.session(&region, &mut backoff)).await {
                None => return,
                Some(Ok(())) => tracing::info!("the supervisor closed its table; following again"),
                Some(Err(error)) => tracing::debug!(%error, "supervisor not available"),
            }
            region.observed.supervisor_away();
            if shutdown
                .unless(tokio::time::sleep(backoff.next_delay()))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    async fn session(&self, region: &Region, backoff: &mut Backoff) -> Result<(), tonic::Status> {
        let mut tables = self.0.clone().watch(WatchRequest {}).await?.into_inner();
        while let Some(table) = tables.message().await? {
            backoff.reset();
            // Platform roles are the supervisor's own business; Dapr Servers have a slash in their name.
            let servers = table.processes.into_iter().filter(|process| process.name.contains('/'));
            region.observed.set_processes(servers.collect());
            region.versions.bump();
        }
        Ok(())
    }
}
