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
use palladium_supervisor::{Config, Ledger, STOP_DEADLINE, State};
use palladium_tasks::{Backoff, ReadyFile};
use tokio::time::{Instant, sleep, timeout};

use super::Error;

/// For everything to serve.
const READY: Duration = Duration::from_secs(30);
/// What the supervisor itself may take after the last process is gone.
const STOP_MARGIN: Duration = Duration::from_millis(700);
/// Having run for so long, a supervisor that died is started at once.
const HEALTHY: Duration = Duration::from_secs(10);
const TAIL: usize = 12;

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

    /// Waits until every role serves and the region has joined; does what `meanwhile` says every now and then.
    pub async fn ready(&mut self, mut meanwhile: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            meanwhile()?;
            let Some((role, reason, hopeless)) = self.missing() else {
                return Ok(());
            };
            if hopeless || started.elapsed() >= READY {
                let log = self.tail(&role);
                return Err(Error::NotReady {
                    role,
                    waited: started.elapsed(),
                    reason,
                    log,
                });
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

    /// Stops everything, in order.
    pub async fn stop(self) -> Result<(), Error> {
        self.process.signal(palladium_os::Signal::Terminate)?;
        let ended = timeout(STOP_DEADLINE + STOP_MARGIN, self.process.ended()).await;
        ended.map(|_| ()).map_err(|_| Error::Stuck(self.process.pid()))
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

    /// The first role that does not serve, why, and whether waiting is of no use.
    fn missing(&self) -> Option<(String, String, bool)> {
        if ReadyFile::read(&self.config.data_folder) != Some(self.process.pid()) {
            return Some(("supervisor".to_owned(), "it is starting".to_owned(), false));
        }
        let ledger = Ledger::read(&self.config.ledger_file()).unwrap_or_default();
        let unready = self.config.roles.iter().find_map(|role| {
            let missing = |reason: &str, hopeless| Some((role.name.clone(), reason.to_owned(), hopeless));
            let Some(entry) = ledger.processes.iter().find(|entry| entry.name == role.name) else {
                return missing("it waits for what it needs", false);
            };
            if entry.state != State::Running {
                return missing(&entry.reason, entry.exit_code == i32::from(exit::USAGE));
            }
            let serves = ReadyFile::read(&role.data_folder);
            let serves = serves.is_some() && serves == entry.fingerprint.as_ref().map(|fingerprint| fingerprint.pid);
            if serves {
                None
            } else {
                missing("it runs, but does not serve yet", false)
            }
        });
        let agent = self.config.roles.iter().find(|role| role.name == "agent");
        unready.or_else(|| {
            let joined = agent?.data_folder.join("joined.json").exists();
            (!joined).then(|| ("agent".to_owned(), "the region has not joined the control plane yet".to_owned(), false))
        })
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
