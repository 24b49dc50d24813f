//! Starts and stops the whole: keys, ledger, socket and roles, in this order; and everything back in the opposite one.
//!
//! Must never leave a process behind after an ordered stop, however stubborn.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use palladium_identity::Attestor;
use palladium_os::files::{Lock, private_folder};
use palladium_os::{Launch, Limits, Process, logs};
use palladium_sealing::Kek;
use palladium_spiffe::TrustDomain;
use palladium_tasks::{ReadyFile, Shutdown, Tasks};
use tokio::time::{Instant, interval, timeout};

use crate::ledger::{Entry, State, Table};
use crate::{Config, Error, recover, service};

/// Within this time after the request to stop, everything is gone.
pub const STOP_DEADLINE: Duration = Duration::from_secs(9);
/// For a child that could not be noted in the ledger.
const UNFED: Duration = Duration::from_secs(1);
const LOG_BYTES: u64 = 16 << 20;
const LOG_CHECK: Duration = Duration::from_secs(60);

/// What all parts share.
pub(crate) struct Supervisor {
    pub(crate) config: Config,
    pub(crate) table: Table,
    pub(crate) attestors: BTreeMap<TrustDomain, Attestor>,
    /// Triggered before the first process is stopped: from then on nothing is started.
    pub(crate) stopping: Shutdown,
    pub(crate) tasks: Mutex<Tasks>,
    starting: tokio::sync::Mutex<()>,
}

/// What is to be started.
pub(crate) struct Start<'a> {
    pub(crate) entry: Entry,
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) limits: Limits,
    pub(crate) stdin: &'a [u8],
}

/// Runs until `shutdown`, then stops every process, within [`STOP_DEADLINE`].
///
/// # Errors
/// When it cannot start; [`Error::exit_code`] is what the process should end with.
pub async fn run(config: Config, shutdown: Shutdown) -> Result<(), Error> {
    private_folder(&config.data_folder)?;
    private_folder(&config.log_folder)?;
    let Some(lock) = Lock::try_acquire(&config.lock_file())? else {
        return Err(Error::AlreadyRunning {
            pid: Lock::holder(&config.lock_file()).unwrap_or(0),
        });
    };
    let supervisor = Arc::new(Supervisor {
        attestors: attestors(&config)?,
        table: Table::new(config.ledger_file()),
        stopping: Shutdown::new(),
        tasks: Mutex::default(),
        starting: tokio::sync::Mutex::default(),
        config,
    });
    recover::recover(&supervisor).await?;
    let listener = service::listen(&supervisor.config.socket())?;
    supervisor.spawn("socket", service::serve(supervisor.clone(), listener));
    for role in supervisor.config.roles.clone() {
        supervisor.spawn("role", supervisor.clone().keep(role));
    }
    let ready = ReadyFile::create(&supervisor.config.data_folder).map_err(|source| palladium_os::Error::File {
        action: "write into",
        path: supervisor.config.data_folder.clone(),
        source,
    })?;
    tracing::info!(roles = supervisor.config.roles.len(), "supervisor serves");
    shutdown.unless(cut_logs(&supervisor)).await;
    tracing::info!("stopping everything");
    drop(ready);
    supervisor.stop_all().await;
    drop(lock);
    Ok(())
}

fn attestors(config: &Config) -> Result<BTreeMap<TrustDomain, Attestor>, Error> {
    let kek = Kek::open(&config.kek)?;
    let mut attestors = BTreeMap::new();
    for zone in &config.attestations {
        let key = config.data_folder.join("attestor.key");
        let attestor = Attestor::open(&kek, &key, zone.sentry_id.clone())?;
        private_folder(&zone.trust_folder)?;
        attestor.publish(&zone.trust_folder, "supervisor", &["/ns/palladium/*"])?;
        attestors.insert(zone.sentry_id.trust_domain().clone(), attestor);
    }
    Ok(attestors)
}

async fn cut_logs(supervisor: &Supervisor) {
    let mut ticks = interval(LOG_CHECK);
    loop {
        ticks.tick().await;
        let mut files: Vec<_> = supervisor.table.all().into_iter().map(|entry| entry.log_file).collect();
        files.push(supervisor.config.log_folder.join("supervisor.log"));
        let cut = move || {
            files
                .iter()
                .filter_map(|file| logs::cut(file, LOG_BYTES).err())
                .collect::<Vec<_>>()
        };
        for error in tokio::task::spawn_blocking(cut).await.unwrap_or_default() {
            tracing::warn!(%error, "a log file stays long");
        }
    }
}

impl Supervisor {
    pub(crate) fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(name, work);
    }

    /// Starts a process, unless one already runs under the name. It is in the ledger before it is told anything.
    pub(crate) async fn start(&self, start: Start<'_>) -> Result<Arc<Process>, Error> {
        let _one_at_a_time = self.starting.lock().await;
        if self.stopping.is_triggered() {
            return Err(Error::Stopping);
        }
        let mut entry = start.entry;
        if let Some(running) = self.table.get(&entry.name).and_then(|entry| entry.process)
            && running.is_running()
        {
            return Ok(running);
        }
        let (program, folder) = (start.program.to_owned(), self.config.data_folder.clone());
        let (arguments, log, limits) = (start.arguments, entry.log_file.clone(), start.limits);
        let launch = move || {
            Launch {
                program: &program,
                arguments: &arguments,
                folder: &folder,
                log: &log,
                limits,
            }
            .spawn()
        };
        let (process, stdin) = tokio::task::spawn_blocking(launch).await??;
        let (name, process) = (entry.name.clone(), Arc::new(process));
        entry.fingerprint = Some(process.fingerprint().clone());
        entry.process = Some(process.clone());
        entry.started_at_unix_ms = now_ms();
        if let Err(error) = self.table.change(|table| drop(table.insert(name.clone(), entry))).await {
            // Unfed, it ends by itself; it must not act without being in the ledger.
            drop(stdin);
            process.stop(UNFED).await?;
            self.note_end(&name, Some(&process), State::Exited, -1, &error.to_string())
                .await;
            return Err(error);
        }
        stdin.feed(start.stdin)?;
        tracing::info!(name, pid = process.pid(), "started");
        Ok(process)
    }

    /// The process of `name`, after any start that is under way.
    pub(crate) async fn present(&self, name: &str) -> Option<Arc<Process>> {
        let _one_at_a_time = self.starting.lock().await;
        self.table.get(name).and_then(|entry| entry.process)
    }

    /// Stops everything: Dapr Servers together, then the roles one by one from the last. Each step may take half of the time
    /// that is left, so the whole ends in time whoever is stubborn.
    async fn stop_all(&self) {
        let deadline = Instant::now() + STOP_DEADLINE;
        self.stopping.trigger();
        drop(self.starting.lock().await);
        let running: BTreeMap<_, _> = self
            .table
            .all()
            .into_iter()
            .filter_map(|entry| Some((entry.name, entry.process?)))
            .collect();
        let servers = running
            .iter()
            .filter(|(name, _)| name.contains('/'))
            .map(|(_, process)| process)
            .collect();
        let roles = self
            .config
            .roles
            .iter()
            .rev()
            .filter_map(|role| Some(vec![running.get(&role.name)?]));
        for step in std::iter::once(servers).chain(roles) {
            let step: Vec<&Arc<Process>> = step;
            let left = deadline.saturating_duration_since(Instant::now());
            let ends = join_all(step.iter().map(|process| process.stop(left / 2)));
            for error in timeout(left, ends)
                .await
                .unwrap_or_default()
                .into_iter()
                .filter_map(Result::err)
            {
                tracing::error!(%error, "cannot be stopped");
            }
        }
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(overdue) = tasks.drain(Duration::from_millis(500)).await {
            tracing::debug!(%overdue, "connections of the agent were cut");
        }
    }
}

/// Now, as the ledger writes it.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
