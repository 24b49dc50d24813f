//! `Workload`: four tables, each for one role, and the reports that come back.
//!
//! One idea: a method is an authorization, a view and nothing else. Must never show a table to another role than its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use palladium_proto::region::workload_server::Workload;
use palladium_proto::region::{
    AppServerState, IdentityTable, ManagedTable, ReportRequest, ReportResponse, RouteTable, TokenUse, WatchRequest,
};
use palladium_tasks::Shutdown;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::{Caller, watch};
use crate::audit::Event;
use crate::region::{Region, now_ms};
use crate::run::blocking;
use crate::{Error, views};

/// A gateway waits this long for a table that knows which Dapr Servers run: it has its last one meanwhile.
const PROCESSES: Duration = Duration::from_secs(5);
/// What one report may hold, of either.
const MAX_LOADS: usize = 10_000;

/// The service.
pub(crate) struct Service {
    pub(crate) region: Arc<Region>,
    pub(crate) shutdown: Shutdown,
}

impl Service {
    async fn know_processes(&self) {
        let mut changed = self.region.versions.subscribe();
        let known = async {
            while !self.region.observed.knows_processes() {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        // Without a supervisor the table is still right about everything but readiness.
        let _ = tokio::time::timeout(PROCESSES, known).await;
    }
}

/// Notes when tokens were used, and records refused calls, as many as a gateway counted together; whether some status changes.
/// Blocks on local disk.
fn tokens_seen(region: &Region, uses: &[TokenUse]) -> Result<bool, Error> {
    if uses.is_empty() {
        return Ok(false);
    }
    let seen = region.tokens.seen(uses, now_ms())?;
    for (uid, token, count) in seen.foreign_host {
        let name = region
            .desired()
            .entry(&uid)
            .map(|entry| views::server_name(&entry.header.project_id, &entry.header.name));
        region.access.record(&Event {
            actor: &format!("appToken/{token}"),
            action: "appToken.foreignHost",
            object: &name.unwrap_or(uid),
            outcome: "refused",
            count,
        });
    }
    Ok(seen.news)
}

/// Forgets the gateway when its stream is dropped.
struct Connected {
    region: Arc<Region>,
    remote: std::net::SocketAddr,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.region.observed.gateway_gone(self.remote);
        self.region.versions.bump();
    }
}

#[tonic::async_trait]
impl Workload for Service {
    async fn watch_routes(&self, request: Request<WatchRequest>) -> Result<Response<BoxStream<RouteTable>>, Status> {
        let (caller, remote) = Caller::from(&self.region, &request)?;
        caller.must_be(Caller::Gateway)?;
        self.know_processes().await;
        let connected = Connected {
            region: self.region.clone(),
            remote,
        };
        let stream = watch::states(
            self.region.clone(),
            self.shutdown.clone(),
            |region| Ok(views::routes(region)),
            move |table: &RouteTable, version| {
                let table = RouteTable {
                    version,
                    ..table.clone()
                };
                connected.region.observed.gateway_sent(connected.remote, table.clone());
                table
            },
        );
        Ok(Response::new(stream.boxed()))
    }

    async fn watch_app_server(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<BoxStream<AppServerState>>, Status> {
        let (project_id, app_id) = Caller::from(&self.region, &request)?.0.app()?;
        let view = move |region: &Region| {
            views::app_server(region, &project_id, &app_id)
                .ok_or_else(|| Status::permission_denied("this App ID does not exist any more"))
        };
        let send = |state: &AppServerState, version| AppServerState {
            version,
            ..state.clone()
        };
        let stream = watch::states(self.region.clone(), self.shutdown.clone(), view, send);
        Ok(Response::new(stream.boxed()))
    }

    async fn watch_identities(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<BoxStream<IdentityTable>>, Status> {
        Caller::from(&self.region, &request)?.0.must_be(Caller::Sentry)?;
        let send = |table: &IdentityTable, version| IdentityTable {
            version,
            ..table.clone()
        };
        let view = |region: &Region| Ok(views::identities(region));
        let stream = watch::states(self.region.clone(), self.shutdown.clone(), view, send);
        Ok(Response::new(stream.boxed()))
    }

    async fn watch_managed(&self, request: Request<WatchRequest>) -> Result<Response<BoxStream<ManagedTable>>, Status> {
        Caller::from(&self.region, &request)?.0.must_be(Caller::Store)?;
        let send = |table: &ManagedTable, version| ManagedTable {
            version,
            ..table.clone()
        };
        let view = |region: &Region| Ok(views::managed(region));
        let stream = watch::states(self.region.clone(), self.shutdown.clone(), view, send);
        Ok(Response::new(stream.boxed()))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let (caller, remote) = Caller::from(&self.region, &request)?;
        let report = request.into_inner();
        if report.loads.len().max(report.token_uses.len()) > MAX_LOADS {
            return Err(Status::invalid_argument("too much for one report"));
        }
        match caller {
            Caller::App { project_id, app_id } => {
                self.region
                    .observed
                    .report(&views::server_name(&project_id, &app_id), report, now_ms());
            }
            Caller::Gateway => {
                self.region.observed.gateway_applied(remote, report.applied_version);
                let (region, uses) = (self.region.clone(), report.token_uses);
                let seen = blocking(move || tokens_seen(&region, &uses)).await;
                let news = seen.map_err(|error| {
                    tracing::error!(%error, "what a gateway saw of tokens is not kept");
                    Status::internal("not kept")
                })?;
                if !news && report.applied_version == 0 {
                    return Ok(Response::new(ReportResponse {}));
                }
            }
            Caller::Store => {
                self.region
                    .observed
                    .destroyed(report.destroyed_component_uids, report.destroyed_app_uids);
            }
            Caller::Sentry => {}
        }
        self.region.versions.bump();
        Ok(Response::new(ReportResponse {}))
    }
}
