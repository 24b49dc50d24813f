//! Watches the supervisor: starts it, finds one that already runs, starts it again when it dies, stops it in order.
//!
//! One idea: `up` may die at any moment and nothing happens; whoever holds the supervisor's lock is the supervisor. Must never
//! touch a process other than that one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use palladium_launch::exit;
use palladium_os::files::Lock;
use palladium_os::{Exit, Launch, Limits, Process, logs};
use palladium_supervisor::{Config, Entry, Ledger, Role, STOP_DEADLINE, State};
use palladium_tasks::{Backoff, ReadyFile};
use tokio::time::{Instant, sleep, timeout};

use super::Error;

/// For everything to serve.
const READY: Duration = Duration::from_secs(30);
/// For the control plane, once the region serves without it.
const CONTROL_PLANE: Duration = Duration::from_secs(10);
/// What the supervisor itself may take after the last process is gone.
const STOP_MARGIN: Duration = Duration::from_millis(700);
/// Having run for so long, a supervisor that died is started at once.
const HEALTHY: Duration = Duration::from_secs(10);
const TAIL: usize = 12;

/// A role that does not serve.
struct Missing {
    role: String,
    reason: String,
    /// Waiting is of no use.
    hopeless: bool,
    /// Applications are served without it.
    spared: bool,
}

/// The supervisor of one installation.
pub struct Watch {
    config: Config,
    config_file: PathBuf,
    process: Process,
    started: Instant,
    backoff: Backoff,
}

/// The supervisor that already works in this folder, if there is one.
pub fn running(config: &Config) -> Option<Process> {
    let pid = Lock::holder(&config.lock_file())?;
    let process = Process::open(pid).ok()?;
    // Asked again behind the pidfd: the lock is still held, so it is by this process.
    (Lock::holder(&config.lock_file()) == Some(pid) && process.is_running()).then_some(process)
}

/// Whether roles of this installation still run, whatever became of their supervisor: the next one takes them over.
pub fn outlived(config: &Config) -> bool {
    let ledger = Ledger::read(&config.ledger_file()).unwrap_or_default();
    let runs = |entry: &Entry| matches!(entry.fingerprint.as_ref().map(Process::adopt), Some(Ok(Some(_))));
    ledger.boot_id == palladium_os::boot_id() && ledger.processes.iter().any(runs)
}

impl Watch {
    /// Watches a supervisor that runs, or starts one.
    pub fn new(config: Config, config_file: PathBuf, process: Option<Process>) -> Result<Self, Error> {
        let process = match process {
            Some(process) => process,
            None => start(&config, &config_file)?,
        };
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        Ok(Self {
            config,
            config_file,
            process,
            started: Instant::now(),
            backoff,
        })
    }

    /// Waits until every role serves and the region has joined; does what `meanwhile` says every now and then. A region that
    /// joined before is not held up by its control plane: the answer then says what is missing.
    ///
    /// # Errors
    /// [`Error::NotReady`] after a while, and at once where waiting is of no use.
    pub async fn ready(&mut self, meanwhile: &mut impl FnMut() -> Result<(), Error>) -> Result<Option<Error>, Error> {
        let started = Instant::now();
        let mut region_serves = None;
        loop {
            meanwhile()?;
            let Some(missing) = self.missing() else {
                return Ok(None);
            };
            let overdue = match missing.spared {
                true => region_serves.get_or_insert_with(Instant::now).elapsed() >= CONTROL_PLANE,
                false => started.elapsed() >= READY,
            };
            if overdue || missing.hopeless {
                let log = self.tail(&missing.role);
                let error = Error::NotReady {
                    role: missing.role,
                    waited: started.elapsed(),
                    reason: missing.reason,
                    hopeless: missing.hopeless,
                    log,
                };
                return if missing.spared { Ok(Some(error)) } else { Err(error) };
            }
            if let Ok(ended) = timeout(Duration::from_millis(10), self.process.ended()).await {
                self.again(ended).await?;
            }
        }
    }

    /// Keeps the supervisor running; returns only when it cannot.
    pub async fn keep(&mut self) -> Error {
        loop {
            let ended = self.process.ended().await;
            if let Err(error) = self.again(ended).await {
                return error;
            }
        }
    }

    /// Stops everything, in order. What outlived its supervisor gets a new one first, since only that can end it.
    pub async fn stop(mut self) -> Result<(), Error> {
        loop {
            self.process.signal(palladium_os::Signal::Terminate)?;
            if timeout(STOP_DEADLINE + STOP_MARGIN, self.process.ended())
                .await
                .is_err()
            {
                return Err(Error::Stuck(self.process.pid()));
            }
            if !outlived(&self.config) {
                return Ok(());
            }
            self.process = start(&self.config, &self.config_file)?;
            let serves = async {
                while ReadyFile::read(&self.config.data_folder) != Some(self.process.pid()) {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                () = serves => {}
                ended = self.process.ended() => {
                    let (reason, log) = (format!("{ended:?}"), self.tail("supervisor"));
                    return Err(Error::Supervisor { reason, log, code: exit::SOFTWARE });
                }
            }
        }
    }

    async fn again(&mut self, ended: Exit) -> Result<(), Error> {
        let reason = format!("{ended:?}");
        if let Exit::Code(code) = ended
            && let Ok(code @ (exit::USAGE | exit::UNAVAILABLE)) = u8::try_from(code)
        {
            return Err(Error::Supervisor {
                reason,
                log: self.tail("supervisor"),
                code,
            });
        }
        if self.started.elapsed() >= HEALTHY {
            self.backoff.reset();
        }
        sleep(self.backoff.next_delay()).await;
        super::banner::note(&format!("the supervisor ended ({reason}); it is started again"));
        self.process = start(&self.config, &self.config_file)?;
        self.started = Instant::now();
        Ok(())
    }

    /// The first that does not serve: of the region, then of the control plane.
    fn missing(&self) -> Option<Missing> {
        let missing = |role: &str, reason: &str| {
            let (role, reason) = (role.to_owned(), reason.to_owned());
            Some(Missing {
                role,
                reason,
                hopeless: false,
                spared: false,
            })
        };
        if ReadyFile::read(&self.config.data_folder) != Some(self.process.pid()) {
            return missing("supervisor", "it is starting");
        }
        let ledger = Ledger::read(&self.config.ledger_file()).unwrap_or_default();
        let unready = |role: &Role| {
            let Some(entry) = ledger.processes.iter().find(|entry| entry.name == role.name) else {
                return missing(&role.name, "it waits for what it needs");
            };
            if entry.state != State::Running {
                let hopeless = entry.exit_code == i32::from(exit::USAGE);
                return missing(&role.name, &entry.reason).map(|missing| Missing { hopeless, ..missing });
            }
            let serves = ReadyFile::read(&role.data_folder);
            let serves = serves.is_some() && serves == entry.fingerprint.as_ref().map(|fingerprint| fingerprint.pid);
            if serves {
                None
            } else {
                missing(&role.name, "it runs, but does not serve yet")
            }
        };
        let agent = self.config.roles.iter().find(|role| role.name == "agent");
        let joined = agent.is_some_and(|agent| agent.data_folder.join("joined.json").exists());
        let (control, region): (Vec<_>, Vec<_>) = self
            .config
            .roles
            .iter()
            .partition(|role| role.name.starts_with("control-plane"));
        let without = control.into_iter().find_map(unready).map(|missing| Missing {
            spared: joined,
            ..missing
        });
        let unjoined = || match joined {
            true => None,
            false => missing("agent", "the region has not joined the control plane yet"),
        };
        region.into_iter().find_map(unready).or(without).or_else(unjoined)
    }

    fn tail(&self, name: &str) -> String {
        let file = self.config.log_folder.join(format!("{name}.log"));
        let lines = logs::tail(&file, TAIL);
        format!("---- the end of {}:\n{}", file.display(), lines.join("\n"))
    }
}

fn start(config: &Config, config_file: &std::path::Path) -> Result<Process, Error> {
    let arguments: [OsString; 4] = ["run".into(), "supervisor".into(), "--config".into(), config_file.into()];
    let launch = Launch {
        program: &config.executable,
        arguments: &arguments,
        folder: &config.data_folder,
        log: &config.log_folder.join("supervisor.log"),
        limits: Limits::default(),
    };
    let (process, stdin) = launch.spawn()?;
    stdin.feed(b"")?;
    Ok(process)
}
