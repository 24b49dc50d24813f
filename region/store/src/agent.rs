//! Follows the agent's `Workload.WatchManaged`: each message is the whole table; it takes effect, what it declares dead is
//! destroyed, it is kept, it is reported.
//!
//! The one idea: permissions go first, rows second, the report last. A deletion that was interrupted is simply done again;
//! an App ID's keys are deleted once per App ID uid, so that a new App ID of the same name keeps what is its own. Rows are
//! destroyed only when the table says so in so many words, never because something is missing from it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use palladium_os::files::write_private;
use palladium_proto::region::workload_client::WorkloadClient;
use palladium_proto::region::{DeletedApp, ManagedTable, ReportRequest, WatchRequest};
use palladium_tasks::{Backoff, Shutdown};
use palladium_tls::{Connector, TrustBundles};
use tonic::transport::Channel;

use crate::access::{Access, LastTable};
use crate::projects::Projects;
use crate::rows::{BusWork, StorageError, Work};

const MAX_MESSAGE: usize = 64 << 20;
const REPORT: Duration = Duration::from_secs(5);
/// Uids of App IDs whose keys are already gone.
const DESTROYED: &str = "destroyed-apps.json";

/// Applies tables, from disk or from the agent.
pub(crate) struct Tables {
    pub(crate) access: Access,
    pub(crate) bundles: TrustBundles,
    pub(crate) projects: Arc<Projects>,
    pub(crate) last: LastTable,
    pub(crate) destroyed: DestroyedApps,
}

/// What is gone for good after a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Destroyed {
    pub(crate) components: Vec<String>,
    pub(crate) apps: Vec<String>,
}

impl Tables {
    /// Follows until `shutdown`.
    pub(crate) async fn follow(mut self, agent: Connector, address: SocketAddr, shutdown: Shutdown) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            let session = self.session(agent.clone(), address, &mut backoff);
            let Some(outcome) = shutdown.unless(session).await else {
                return;
            };
            tracing::info!(error = ?outcome.err(), "the agent is away: the last table of managed components stays in force");
            if shutdown
                .unless(tokio::time::sleep(backoff.next_delay()))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    async fn session(
        &mut self,
        agent: Connector,
        address: SocketAddr,
        backoff: &mut Backoff,
    ) -> Result<(), tonic::Status> {
        let channel = palladium_tls::channel(agent, &address.to_string());
        let channel = channel.map_err(|error| tonic::Status::internal(error.to_string()))?;
        let mut client = WorkloadClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let mut tables = client.watch_managed(WatchRequest::default()).await?.into_inner();
        while let Some(table) = tables.message().await? {
            backoff.reset();
            tracing::info!(
                version = table.version,
                components = table.components.len(),
                "table of managed components applied"
            );
            let destroyed = self.apply(&table).await;
            self.report(&mut client, table.version, destroyed).await;
        }
        Ok(())
    }

    /// Puts a table in force and destroys what it declares dead.
    pub(crate) async fn apply(&mut self, table: &ManagedTable) -> Destroyed {
        // Before a new App ID of an old one's name gets anything.
        self.bundles
            .set_revocations(palladium_identity::revocations(&table.revoked));
        self.access.replace(table);
        // Before anything is destroyed: after a crash the permissions are the new ones.
        let (last, kept) = (self.last.clone(), table.clone());
        match tokio::task::spawn_blocking(move || last.write(&kept)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the table of managed components is in force but not on disk"),
            Err(error) => tracing::error!(%error, "writing the table of managed components failed"),
        }
        let mut destroyed = Destroyed::default();
        for component in table.components.iter().filter(|component| component.deleted) {
            match self
                .destroy_component(&component.project_id, &component.component_uid, table)
                .await
            {
                Ok(()) => destroyed.components.push(component.component_uid.clone()),
                Err(error) => {
                    tracing::error!(%error, component = %component.component_uid, "a deleted component's rows remain")
                }
            }
        }
        self.destroyed
            .forget_all_but(table.deleted_apps.iter().map(|app| app.uid.as_str()))
            .await;
        for app in &table.deleted_apps {
            match self.destroy_app(app).await {
                Ok(()) => destroyed.apps.push(app.uid.clone()),
                Err(error) => tracing::error!(%error, app = %app.uid, "a deleted App ID's keys remain"),
            }
        }
        destroyed
    }

    async fn destroy_component(&self, project_id: &str, uid: &str, table: &ManagedTable) -> Result<(), StorageError> {
        let Some(project) = self.projects.existing(project_id).await? else {
            // Destroyed before; what that could not remove is removed now.
            return self.projects.destroy(project_id).await;
        };
        project.submit(Work::DeleteComponent(uid.into())).await?;
        let alive = table
            .components
            .iter()
            .any(|component| component.project_id == project_id && !component.deleted);
        // Nothing can be written any more where no component is left, and when no row is either, the key may go.
        if !alive && project.is_empty().await? {
            self.projects.destroy(project_id).await?;
        }
        Ok(())
    }

    async fn destroy_app(&mut self, app: &DeletedApp) -> Result<(), StorageError> {
        if self.destroyed.has(&app.uid) {
            return Ok(());
        }
        if let Some(project) = self.projects.existing(&app.project_id).await? {
            // Both prefixes that carry an App ID's name: by App ID, and by namespace (the project) and App ID.
            let own = [
                format!("{}||", app.app_id),
                format!("{}.{}||", app.project_id, app.app_id),
            ];
            project
                .submit(Work::DeleteRanges(own.into_iter().map(range).collect()))
                .await?;
            let app = app.app_id.clone();
            project.submit(Work::Bus(BusWork::Leave { app })).await?;
        }
        self.destroyed.add(&app.uid).await
    }

    async fn report(&self, client: &mut WorkloadClient<Channel>, version: u64, destroyed: Destroyed) {
        let mut report = tonic::Request::new(ReportRequest {
            applied_version: version,
            ready: true,
            destroyed_component_uids: destroyed.components,
            destroyed_app_uids: destroyed.apps,
            ..ReportRequest::default()
        });
        report.set_timeout(REPORT);
        if let Err(error) = client.report(report).await {
            tracing::warn!(%error, version, "the agent was not told what is applied and destroyed");
        }
    }
}

/// The keys that begin with `prefix`, as a range: `|` is followed by `}`.
fn range(prefix: String) -> (String, String) {
    let mut end = prefix.clone();
    end.pop();
    end.push('}');
    (prefix, end)
}

/// Which deleted App IDs' keys are already gone, on disk.
pub(crate) struct DestroyedApps {
    path: PathBuf,
    uids: BTreeSet<String>,
}

impl DestroyedApps {
    /// Reads the file; a damaged one counts as empty, for deleting twice before the report does no harm.
    pub(crate) fn open(data_folder: &std::path::Path) -> Self {
        let path = data_folder.join(DESTROYED);
        let uids = std::fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        DestroyedApps { path, uids }
    }

    fn has(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }

    async fn add(&mut self, uid: &str) -> Result<(), StorageError> {
        let mut next = self.uids.clone();
        next.insert(uid.to_string());
        self.keep(next).await
    }

    async fn forget_all_but<'a>(&mut self, listed: impl Iterator<Item = &'a str>) {
        let listed: BTreeSet<&str> = listed.collect();
        let next: BTreeSet<String> = self
            .uids
            .iter()
            .filter(|uid| listed.contains(uid.as_str()))
            .cloned()
            .collect();
        if next.len() != self.uids.len()
            && let Err(error) = self.keep(next).await
        {
            tracing::warn!(%error, "the list of destroyed App IDs was not shortened");
        }
    }

    async fn keep(&mut self, next: BTreeSet<String>) -> Result<(), StorageError> {
        let text = serde_json::to_vec(&next).unwrap_or_default();
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || write_private(&path, &text)).await;
        written.map_err(|error| StorageError::Other(error.to_string()))??;
        self.uids = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_range_of_keys() {
        let (from, to) = range("orders||".into());
        let within = |key: &str| from.as_str() <= key && key < to.as_str();
        assert!(within("orders||k") && within("orders||") && within("orders||\u{10ffff}") && within("orders||a||b"));
        assert!(
            !within("orders|")
                && !within("orders")
                && !within("orders2||k")
                && !within("orders}")
                && !within("order||k")
        );
    }
}
