//! Keeps one role running: started after those it needs, started again when it ends, sooner or later as its end asks for.
//!
//! One idea: a process that says that it needs a fresh attestation gets it at once; anything else waits longer each time,
//! until it has run well for a minute. Must never start a role twice.

use std::sync::Arc;
use std::time::Duration;

use palladium_launch::{Envelope, exit};
use palladium_os::{Exit, Limits, Process};
use palladium_sealing::ExposeSecret;
use palladium_tasks::{Backoff, ReadyFile};
use tokio::time::{Instant, sleep, timeout};

use crate::ledger::{Entry, State};
use crate::supervisor::{Start, Supervisor};
use crate::{Error, Role};

const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);
/// Having run for so long, a role has recovered.
const HEALTHY: Duration = Duration::from_secs(60);
/// Having run for less, a role is not started at once, whatever it asks for: two processes must not spin.
const TOO_SHORT: Duration = Duration::from_secs(1);
const NEEDED: Duration = Duration::from_secs(15);

impl Supervisor {
    /// Keeps `role` running until the supervisor stops. A process that was found again is taken over.
    pub(crate) async fn keep(self: Arc<Self>, role: Role) {
        let mut backoff = Backoff::new(SHORTEST, LONGEST);
        while !self.stopping.is_triggered() {
            let adopted = self.table.get(&role.name).and_then(|entry| entry.process);
            let started = match adopted {
                Some(process) => Ok(process),
                None => self.start_role(&role).await,
            };
            let process = started.as_ref().ok().cloned();
            let (exit_code, reason, at_once) = match started {
                Err(Error::Stopping) => break,
                Err(error) => (-1, error.to_string(), false),
                Ok(process) => {
                    let since = Instant::now();
                    let exit = process.ended().await;
                    if since.elapsed() >= HEALTHY {
                        backoff.reset();
                    }
                    let wanted = matches!(exit, Exit::Unknown) || exit == Exit::Code(exit::ATTEST_AGAIN.into());
                    let (code, reason) = describe(exit);
                    (code, reason, wanted && since.elapsed() >= TOO_SHORT)
                }
            };
            let delay = if at_once { Duration::ZERO } else { backoff.next_delay() };
            let stopping = self.stopping.is_triggered();
            let state = if stopping { State::Exited } else { State::BackingOff };
            self.note_end(&role.name, process.as_ref(), state, exit_code, &reason)
                .await;
            if !stopping {
                tracing::warn!(name = role.name, reason, ?delay, "starting it again");
                self.stopping.unless(sleep(delay)).await;
            }
        }
    }

    async fn start_role(&self, role: &Role) -> Result<Arc<Process>, Error> {
        // Without those it needs it would only fail and wait longer; after the deadline it may say so itself.
        let needed = timeout(NEEDED, async {
            while !role.after.iter().all(|name| self.serves(name)) {
                sleep(Duration::from_millis(10)).await;
            }
        });
        if matches!(self.stopping.unless(needed).await, Some(Err(_))) {
            tracing::warn!(name = role.name, after = ?role.after, "started without what it needs");
        }
        let stdin = match &role.spiffe_id {
            None => Default::default(),
            Some(id) => {
                let attestor = self.attestors.get(id.trust_domain());
                let attestor = attestor.ok_or_else(|| Error::Config(format!("{id} is of no zone in attestations")))?;
                Envelope::encode(attestor.attest(id)?.expose_secret())
            }
        };
        let known = self.table.get(&role.name);
        let entry = Entry {
            name: role.name.clone(),
            spiffe_id: role.spiffe_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            state: State::Running,
            fingerprint: None,
            reason: String::new(),
            restarts: known.map_or(0, |entry| entry.restarts + 1),
            started_at_unix_ms: 0,
            exit_code: 0,
            log_file: self.config.log_folder.join(format!("{}.log", role.name)),
            process: None,
        };
        let start = Start {
            entry,
            program: &self.config.executable,
            arguments: role.arguments(),
            limits: Limits {
                memory_bytes: role.memory_limit_bytes,
                open_files: role.open_files_limit,
            },
            stdin: &stdin,
        };
        self.start(start).await
    }

    /// Whether the role's present process has said that it serves.
    fn serves(&self, name: &str) -> bool {
        let folder = self
            .config
            .roles
            .iter()
            .find(|role| role.name == name)
            .map(|role| &role.data_folder);
        let process = self.table.get(name).and_then(|entry| entry.process);
        folder
            .zip(process)
            .is_some_and(|(folder, process)| ReadyFile::read(folder) == Some(process.pid()))
    }

    /// Notes that `process` of `name` ended, or that none could be started. `false` when the entry is gone or speaks of a
    /// successor: then nothing is noted.
    pub(crate) async fn note_end(
        &self,
        name: &str,
        process: Option<&Arc<Process>>,
        state: State,
        exit_code: i32,
        reason: &str,
    ) -> bool {
        let mut noted = false;
        let change = self.table.change(|table| {
            let Some(entry) = table.get_mut(name).filter(|entry| entry.is_of(process)) else {
                return;
            };
            (entry.state, entry.exit_code, entry.reason) = (state, exit_code, reason.to_owned());
            (entry.process, entry.fingerprint) = (None, None);
            noted = true;
        });
        if let Err(error) = change.await {
            tracing::error!(%error, "the ledger is behind");
        }
        noted
    }
}

impl Role {
    /// What follows the executable.
    pub(crate) fn arguments(&self) -> Vec<std::ffi::OsString> {
        vec![
            "run".into(),
            self.role.clone().into(),
            "--config".into(),
            self.config_file.clone().into(),
        ]
    }
}

/// Exit code and reason, for people.
pub(crate) fn describe(exit: Exit) -> (i32, String) {
    let code = match exit {
        Exit::Unknown => return (-1, "ended while the supervisor was away".to_owned()),
        Exit::Signal(signal) => return (128 + signal, format!("ended by signal {signal}")),
        Exit::Code(code) => code,
    };
    let meaning = match u8::try_from(code) {
        Ok(exit::STOPPED) => "stopped",
        Ok(exit::USAGE) => "its configuration cannot be used",
        Ok(exit::UNAVAILABLE) => "a port is taken, or a folder or disk cannot be written",
        Ok(exit::ATTEST_AGAIN) => "wants a fresh attestation",
        _ => "failed",
    };
    (code, format!("{meaning} (exit code {code})"))
}
