//! Follows the agent's `Workload.WatchRoutes`: each message is the whole table; it takes effect, is kept, is reported.
//!
//! One idea: level-triggered. Whatever was missed, the next message repairs it. Must never empty the table because the agent
//! is away, and never wait for the disk before a revocation takes effect. What is seen of tokens goes back the same way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use palladium_proto::region::workload_client::WorkloadClient;
use palladium_proto::region::{ReportRequest, RouteTable, WatchRequest};
use palladium_tasks::{Backoff, Shutdown};
use palladium_tls::{Connector, TrustBundles};
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::freshness::now;
use crate::snapshot::Snapshot;
use crate::table::{Compiler, end_missing};
use crate::uses::{self, News};
use crate::worker::Shared;

/// A table of a hundred thousand App IDs has about 25 MB.
const MAX_MESSAGE: usize = 128 * 1024 * 1024;
const REPORT: Duration = Duration::from_secs(5);
/// Between two looks at the age of the table.
const TICK: Duration = Duration::from_secs(1);
/// Between two reports of what was seen of tokens.
const USES: Duration = Duration::from_secs(5);
/// Ticks between two lines about an agent that is away, and two notes on disk that it is not.
const SAY: u64 = 60;

/// Applies tables, from disk or from the agent.
pub(crate) struct Tables {
    pub(crate) compiler: Compiler,
    pub(crate) bundles: TrustBundles,
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshot: Snapshot,
}

impl Tables {
    /// Makes `message` what all workers see from their next request on.
    pub(crate) fn apply(&self, message: &RouteTable) {
        self.bundles
            .set_revocations(palladium_identity::revocations(&message.revoked));
        let old = self.shared.table.load_full();
        let new = Arc::new(self.compiler.compile(message, &old));
        self.shared.table.store(new.clone());
        end_missing(&old, &new);
        self.shared.changed.send_replace(message.version);
        self.shared.metrics.route_version.set(message.version);
    }

    /// Follows until `shutdown`.
    pub(crate) async fn follow(self, agent: Connector, address: SocketAddr, shutdown: Shutdown) {
        tokio::select! {
            () = self.sessions(agent, address, shutdown) => {}
            () = self.grow_old() => {}
        }
    }

    /// Says how old the table is, and turns marks of tokens into minutes while they are right, agent or not.
    async fn grow_old(&self) {
        let mut ticks = tokio::time::interval(TICK);
        for count in 0_u64.. {
            ticks.tick().await;
            let (now, table) = (now(), self.shared.table.load_full());
            uses::sweep(&table, now);
            let age = self.shared.freshness.look(now);
            self.shared.metrics.table_age.set(age);
            if !count.is_multiple_of(SAY) {
                continue;
            }
            if age > 0 {
                let (version, refusing) = (table.version, self.shared.freshness.is_too_old());
                tracing::warn!(
                    age_seconds = age,
                    version,
                    refusing,
                    "cut off from the agent: what was revoked meanwhile is not known here"
                );
            } else if let Err(error) = self.touch().await {
                tracing::debug!(%error, "the file of the last route table keeps its time");
            }
        }
    }

    async fn touch(&self) -> std::io::Result<()> {
        let snapshot = self.snapshot.clone();
        tokio::task::spawn_blocking(move || snapshot.touch()).await?
    }

    async fn sessions(&self, agent: Connector, address: SocketAddr, shutdown: Shutdown) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            let session = self.session(agent.clone(), address, &mut backoff);
            let Some(outcome) = shutdown.unless(session).await else {
                return;
            };
            let error = outcome.err();
            self.shared.freshness.cut_off(now());
            if self.shared.metrics.agent_connected.set(0) == 1 {
                let version = self.shared.table.load().version;
                tracing::warn!(
                    ?error,
                    version,
                    "the agent is away: the last route table stays in force"
                );
            } else {
                tracing::debug!(?error, "the agent is still away");
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

    async fn session(&self, agent: Connector, address: SocketAddr, backoff: &mut Backoff) -> Result<(), tonic::Status> {
        let channel = palladium_tls::channel(agent, &address.to_string())
            .map_err(|error| tonic::Status::internal(error.to_string()))?;
        let mut client = WorkloadClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let known_version = self.shared.table.load().version;
        let mut tables = client.watch_routes(WatchRequest { known_version }).await?.into_inner();
        self.shared.metrics.agent_connected.set(1);
        // Disk and report never hold the next table up: they see the newest only.
        let (applied, newest) = watch::channel(None);
        let receive = async {
            while let Some(table) = tables.message().await? {
                backoff.reset();
                self.apply(&table);
                self.shared.freshness.connected();
                tracing::info!(
                    version = table.version,
                    routes = table.routes.len(),
                    "route table applied"
                );
                applied.send_replace(Some(Arc::new(table)));
            }
            Ok(())
        };
        tokio::select! {
            ended = receive => ended,
            () = self.follow_up(client.clone(), newest) => Ok(()),
            () = self.report_uses(client) => Ok(()),
        }
    }

    /// Keeps and reports what has been applied.
    async fn follow_up(
        &self,
        mut client: WorkloadClient<Channel>,
        mut newest: watch::Receiver<Option<Arc<RouteTable>>>,
    ) {
        while newest.changed().await.is_ok() {
            let Some(table) = newest.borrow_and_update().clone() else {
                continue;
            };
            let version = table.version;
            let report = ReportRequest {
                applied_version: version,
                ready: true,
                ..ReportRequest::default()
            };
            let mut report = tonic::Request::new(report);
            report.set_timeout(REPORT);
            // On disk first: what is reported, a revocation for one, outlives a crash at this moment.
            self.keep(table).await;
            if let Err(error) = client.report(report).await {
                tracing::warn!(%error, version, "the agent was not told that the table is applied");
            }
        }
    }

    /// Tells what is new of tokens.
    async fn report_uses(&self, mut client: WorkloadClient<Channel>) {
        let mut ticks = tokio::time::interval(USES);
        loop {
            ticks.tick().await;
            loop {
                let news = News::collect(&self.shared.table.load(), now());
                if news.is_empty() {
                    break;
                }
                let mut report = tonic::Request::new(ReportRequest {
                    ready: true,
                    token_uses: news.messages(),
                    ..ReportRequest::default()
                });
                report.set_timeout(REPORT);
                if let Err(error) = client.report(report).await {
                    tracing::debug!(%error, "what was seen of tokens is told later");
                    news.lost();
                    break;
                }
                news.told();
            }
        }
    }

    async fn keep(&self, table: Arc<RouteTable>) {
        let snapshot = self.snapshot.clone();
        let written = tokio::task::spawn_blocking(move || snapshot.write(&table)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the route table is in force but not on disk"),
            Err(error) => tracing::error!(%error, "writing the route table failed"),
        }
    }
}
