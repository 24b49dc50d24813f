//! What is, as far as this agent has seen: processes, what Dapr Servers report, what the store has destroyed.
//!
//! The one idea: observed may be unknown. Nothing is started or stopped before the supervisor's table was seen in this
//! connection; a Dapr Server that was running before this agent started counts as ready until it says otherwise. Pure
//! data behind one lock; must never do I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palladium_proto::region::{LoadResult, ReportRequest, RouteTable, TokenDigest};
use palladium_proto::supervisor::{Process, State};

/// What one Dapr Server said.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppReport {
    /// Milliseconds since 1970.
    pub(crate) at_ms: i64,
    pub(crate) ready: bool,
    /// By uid.
    pub(crate) loads: BTreeMap<String, LoadResult>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The last table seen, kept while the supervisor is away.
    processes: Option<HashMap<String, Process>>,
    connected: bool,
    reports: HashMap<String, AppReport>,
    destroyed_components: BTreeSet<String>,
    destroyed_apps: BTreeSet<String>,
    gateways: HashMap<SocketAddr, Gateway>,
}

/// One connected gateway.
#[derive(Debug, Default)]
struct Gateway {
    /// Tables on their way, oldest first.
    sent: VecDeque<Arc<RouteTable>>,
    applied: Option<Arc<RouteTable>>,
}

/// What is observed.
pub(crate) struct Observed {
    started_ms: i64,
    inner: Mutex<Inner>,
}

impl Observed {
    /// `started_ms`: when this agent started.
    pub(crate) fn new(started_ms: i64) -> Self {
        Self {
            started_ms,
            inner: Mutex::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The supervisor's complete table.
    pub(crate) fn set_processes(&self, processes: Vec<Process>) {
        let mut inner = self.inner();
        inner.processes = Some(
            processes
                .into_iter()
                .map(|process| (process.name.clone(), process))
                .collect(),
        );
        inner.connected = true;
    }

    /// The supervisor is away; what it said last is kept, but nothing is done by it.
    pub(crate) fn supervisor_away(&self) {
        self.inner().connected = false;
    }

    /// The processes, if they are known well enough to act on.
    pub(crate) fn processes_to_act_on(&self) -> Option<HashMap<String, Process>> {
        let inner = self.inner();
        inner.processes.clone().filter(|_| inner.connected)
    }

    /// Whether any table was seen since this agent started.
    pub(crate) fn knows_processes(&self) -> bool {
        self.inner().processes.is_some()
    }

    /// Takes in a Dapr Server's report, complete each time; `name` is `<project id>/<app id>`.
    pub(crate) fn report(&self, name: &str, report: ReportRequest, now_ms: i64) {
        let loads = report.loads.into_iter().map(|load| (load.uid.clone(), load)).collect();
        self.inner().reports.insert(
            name.to_owned(),
            AppReport {
                at_ms: now_ms,
                ready: report.ready,
                loads,
            },
        );
    }

    /// What the running process of that name has said, if anything.
    pub(crate) fn app_report(&self, name: &str) -> Option<AppReport> {
        let inner = self.inner();
        let process = inner.processes.as_ref()?.get(name)?;
        inner
            .reports
            .get(name)
            .filter(|report| report.at_ms >= process.started_at_unix_ms)
            .cloned()
    }

    /// Whether the Dapr Server of that name serves.
    pub(crate) fn is_ready(&self, name: &str) -> bool {
        let inner = self.inner();
        let Some(process) = inner.processes.as_ref().and_then(|all| all.get(name)) else {
            return false;
        };
        if process.state() != State::Running {
            return false;
        }
        match inner
            .reports
            .get(name)
            .filter(|report| report.at_ms >= process.started_at_unix_ms)
        {
            Some(report) => report.ready,
            None => process.started_at_unix_ms < self.started_ms,
        }
    }

    /// The App ID is gone.
    pub(crate) fn forget(&self, name: &str) {
        self.inner().reports.remove(name);
    }

    /// What the store has destroyed.
    pub(crate) fn destroyed(&self, components: Vec<String>, apps: Vec<String>) {
        let mut inner = self.inner();
        inner.destroyed_components.extend(components);
        inner.destroyed_apps.extend(apps);
    }

    /// Whether the store has destroyed that component's rows and keys.
    pub(crate) fn component_destroyed(&self, uid: &str) -> bool {
        self.inner().destroyed_components.contains(uid)
    }

    /// Whether the store has destroyed that App ID's rows.
    pub(crate) fn app_destroyed(&self, uid: &str) -> bool {
        self.inner().destroyed_apps.contains(uid)
    }

    /// Nobody waits for that any more.
    pub(crate) fn forget_destroyed(&self, uid: &str) {
        let mut inner = self.inner();
        inner.destroyed_components.remove(uid);
        inner.destroyed_apps.remove(uid);
    }

    /// A table is on its way to the gateway at `remote`.
    pub(crate) fn gateway_sent(&self, remote: SocketAddr, table: RouteTable) {
        let mut inner = self.inner();
        let sent = &mut inner.gateways.entry(remote).or_default().sent;
        sent.push_back(Arc::new(table));
        if sent.len() > MAX_UNCONFIRMED {
            sent.pop_front();
        }
    }

    /// A gateway has put a table into force.
    pub(crate) fn gateway_applied(&self, remote: SocketAddr, version: u64) {
        let mut inner = self.inner();
        let Some(gateway) = inner.gateways.get_mut(&remote) else {
            return;
        };
        while let Some(table) = gateway.sent.pop_front_if(|table| table.version <= version) {
            gateway.applied = Some(table);
        }
    }

    /// A gateway's stream ended.
    pub(crate) fn gateway_gone(&self, remote: SocketAddr) {
        self.inner().gateways.remove(&remote);
    }

    /// The connected gateways that do not yet go by these tokens of an App ID.
    pub(crate) fn gateways_without(&self, project_id: &str, app_id: &str, tokens: &[TokenDigest]) -> Vec<SocketAddr> {
        let inner = self.inner();
        let follows = |gateway: &Gateway| {
            let table = gateway.applied.as_ref();
            let route = table.and_then(|table| {
                table
                    .routes
                    .iter()
                    .find(|route| route.project_id == project_id && route.app_id == app_id)
            });
            route.is_some_and(|route| route.tokens == tokens)
        };
        inner
            .gateways
            .iter()
            .filter(|(_, gateway)| !follows(gateway))
            .map(|(remote, _)| *remote)
            .collect()
    }
}

/// Tables sent to one gateway and not confirmed; older ones are of no interest.
const MAX_UNCONFIRMED: usize = 4;
