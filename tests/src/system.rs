//! One installation: `palladium up` over a temporary data folder.
//!
//! One idea: the data folder tells everything: a role's `ready` file holds its process id exactly while it serves. The
//! folder is removed by `finish`; a scenario that never gets there leaves it, with its place and the ends of its logs
//! printed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::{
    api::Api,
    disk::Disk,
    ports::Ports,
    process::{Dead, alive, names, naming, signal},
    until,
};

/// Roles by their folder below the data folder.
pub const CONTROL_PLANE: &str = "control-plane/server";
/// The control domain's certificate authority.
pub const CONTROL_SENTRY: &str = "control-plane/sentry";
/// The region's certificate authority.
pub const REGION_SENTRY: &str = "region/sentry";
/// The region's agent.
pub const AGENT: &str = "region/agent";
/// The gateway.
pub const GATEWAY: &str = "region/gateway";
/// The managed services.
pub const STORE: &str = "region/store";
/// The parent of all of them.
pub const SUPERVISOR: &str = "region/supervisor";
/// Every role that always runs.
pub const ROLES: [&str; 7] = [
    SUPERVISOR,
    CONTROL_SENTRY,
    REGION_SENTRY,
    CONTROL_PLANE,
    STORE,
    AGENT,
    GATEWAY,
];

/// Until everything is ready; far more than it takes, because many tests share few cores.
pub const START: Duration = Duration::from_secs(60);
/// What the product promises for an orderly stop.
pub const STOP: Duration = Duration::from_secs(10);

/// The folder of an App ID's Dapr Server, to be used like a role.
pub fn dapr_server(project: &str, app: &str) -> String {
    format!("region/apps/{project}/{app}")
}

/// A folder with our executables: `PALLADIUM_BIN_DIR`, or where cargo put this test.
pub fn executable(name: &str) -> Result<PathBuf> {
    let folder = match env::var_os("PALLADIUM_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => env::current_exe()?
            .ancestors()
            .nth(2)
            .context("target folder")?
            .to_path_buf(),
    };
    let path = folder.join(name);
    ensure!(
        path.exists(),
        "{} is missing: `./dev test` builds it, or `cargo build --workspace --all-targets`",
        path.display()
    );
    Ok(path)
}

/// A running installation.
pub struct System {
    folder: TempDir,
    data: PathBuf,
    /// Its ports.
    pub ports: Ports,
    flags: Vec<String>,
    up: Option<Child>,
    disk: Option<Disk>,
    finished: bool,
}

impl System {
    /// A new installation, ready to be used.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same with more flags for `palladium up`.
    pub async fn start_with(flags: &[&str]) -> Result<Self> {
        Self::start_where(|_| flags.iter().map(|f| (*f).to_owned()).collect()).await
    }

    /// The same with flags that name ports of its own.
    pub async fn start_where(flags: impl FnOnce(&Ports) -> Vec<String>) -> Result<Self> {
        let mut system = Self::prepare()?;
        system.flags = flags(&system.ports);
        system.launch().await?;
        system.ready().await?;
        Ok(system)
    }

    /// Other flags in place of those of the starts before, from the next start on.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|f| (*f).to_owned()).collect();
    }

    /// A folder and ports, with nothing in or on them yet.
    pub fn prepare() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("palladium-").tempdir()?;
        let data = folder.path().join("data");
        Ok(Self {
            folder,
            data,
            ports: Ports::take()?,
            flags: Vec::new(),
            up: None,
            disk: None,
            finished: false,
        })
    }

    /// The same, with the data folder on a disk of its own that can be filled. Needs root.
    pub fn prepare_on_disk(megabytes: u32) -> Result<Self> {
        let mut system = Self::prepare()?;
        system.disk = Some(Disk::mount(system.data.clone(), megabytes)?);
        Ok(system)
    }

    /// The disk of [`Self::prepare_on_disk`].
    pub fn disk(&self) -> Result<&Disk> {
        self.disk.as_ref().context("not on a disk of its own")
    }

    /// Starts `palladium up` over the data folder, without waiting for readiness.
    pub async fn launch(&mut self) -> Result<()> {
        ensure!(self.up.is_none(), "it is running already");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home().join("up.log"))?;
        let mut command = self.command(&[])?;
        command.stdout(log.try_clone()?).stderr(log);
        self.up = Some(command.spawn()?);
        Ok(())
    }

    /// `palladium up` over the data folder, to its end; what it says comes back with its exit status.
    pub async fn run_up(&self, flags: &[&str]) -> Result<(ExitStatus, String)> {
        let output = timeout(START, self.command(flags)?.output()).await??;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status, String::from_utf8_lossy(&said).into_owned()))
    }

    /// `kill -9` of `palladium up` alone.
    pub async fn kill_up(&mut self) -> Result<()> {
        self.up.take().context("not running")?.kill().await?;
        Ok(())
    }

    /// The terminal of `palladium up` is closed.
    pub async fn hang_up(&mut self) -> Result<()> {
        let mut up = self.up.take().context("not running")?;
        signal(up.id().context("it ended by itself")?, Signal::HUP)?;
        timeout(STOP, up.wait()).await??;
        Ok(())
    }

    /// What `palladium up` has said so far.
    pub fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(self.home().join("up.log"))?)
    }

    /// A signal for every process of this installation.
    pub fn signal_all(&self, which: Signal) -> Result<()> {
        for pid in self.processes() {
            // What ended meanwhile needs none.
            if let Err(error) = signal(pid, which)
                && alive(pid)
            {
                return Err(error);
            }
        }
        Ok(())
    }

    fn command(&self, flags: &[&str]) -> Result<Command> {
        let ports = [
            ("--port-control-plane", self.ports.control_plane()),
            ("--port-stream", self.ports.stream()),
            ("--port-gateway", self.ports.gateway()),
            ("--internal-ports-from", self.ports.internal()),
        ];
        let mut command = Command::new(executable("palladium")?);
        command
            .arg("up")
            .arg("--data-dir")
            .arg(&self.data)
            .args(&self.flags)
            .args(flags);
        command.args(
            ports
                .iter()
                .flat_map(|(flag, port)| [(*flag).to_owned(), port.to_string()]),
        );
        command.env("HOME", self.home()).stdin(Stdio::null());
        Ok(command)
    }

    /// Waits until every role serves.
    pub async fn ready(&mut self) -> Result<()> {
        self.ready_are(&ROLES).await
    }

    /// Waits until each of these roles serves.
    pub async fn ready_are(&mut self, roles: &[&str]) -> Result<()> {
        let started = Instant::now();
        while let Some(missing) = roles.iter().find(|role| self.pid(role).is_err()) {
            if let Some(status) = self.up.as_mut().context("not launched")?.try_wait()? {
                bail!("`palladium up` ended with {status} before {missing} was ready");
            }
            ensure!(started.elapsed() < START, "{missing} is not ready after {START:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Ctrl-C: everything ends in order and within the promised time.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        let mut up = self.up.take().context("not running")?;
        signal(up.id().context("it ended by itself")?, Signal::INT)?;
        match timeout(STOP, up.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                self.up = Some(up);
                bail!("`palladium up` still runs {STOP:?} after Ctrl-C")
            }
        }
    }

    /// The end of a scenario in which all held: an orderly stop, if it still runs, and the folder is removed.
    pub async fn finish(mut self) -> Result<()> {
        if self.up.is_some() {
            let status = self.stop().await?;
            ensure!(status.success(), "`palladium up` ended with {status} after Ctrl-C");
        }
        let left = self.processes();
        ensure!(left.is_empty(), "after an orderly stop there still run {left:?}");
        self.finished = true;
        Ok(())
    }

    /// The process that serves as this role now.
    pub fn pid(&self, role: &str) -> Result<u32> {
        let file = self.data.join(role).join("ready");
        let pid = fs::read_to_string(&file)
            .with_context(|| format!("{role} is not ready"))?
            .trim()
            .parse()?;
        // The file of a killed process stays; its id may even belong to another program by now.
        ensure!(names(pid, &self.config_file(role)), "{role} is gone");
        Ok(pid)
    }

    /// `kill -9` of the process that serves as this role; answers with its id when it has ended.
    pub fn kill(&self, role: &str) -> Result<u32> {
        let pid = self.pid(role)?;
        signal(pid, Signal::KILL)?;
        let started = Instant::now();
        while names(pid, &self.data) {
            ensure!(started.elapsed() < STOP, "process {pid} does not end");
            thread::park_timeout(Duration::from_millis(1));
        }
        Ok(pid)
    }

    /// Ends every process of this role the moment it is seen, until what is returned is dropped.
    pub fn keep_dead(&self, role: &str) -> Dead {
        Dead::keep(self.config_file(role))
    }

    /// `kill -9` of everything, `palladium up` included: what a power failure leaves.
    pub async fn kill_all(&mut self) -> Result<()> {
        // The watchers first, so that nothing is started while the rest is ended.
        self.kill_up().await?;
        self.kill(SUPERVISOR)?;
        self.signal_all(Signal::KILL)?;
        until(STOP, "all processes end", async || {
            let left = self.processes();
            ensure!(left.is_empty(), "{left:?}");
            // A process that was killed loses its name before its sockets.
            let public = [self.ports.control_plane(), self.ports.stream(), self.ports.gateway()];
            let mut listening = self.ports.listening()?;
            listening.retain(|address| public.contains(&address.port()));
            ensure!(listening.is_empty(), "{listening:?}");
            Ok(())
        })
        .await
    }

    /// What a process of this role has on its command line, and no other process.
    fn config_file(&self, role: &str) -> PathBuf {
        let path = self.data.join(role);
        match (path.parent(), path.file_name()) {
            (Some(zone), Some(name)) if !role.starts_with("region/apps/") => zone.join("config").join(name),
            _ => path,
        }
        .with_extension("json")
    }

    /// Waits until another process than `old` serves as this role.
    pub async fn replaced(&self, role: &str, old: u32, deadline: Duration) -> Result<u32> {
        until(deadline, &format!("{role} comes back"), async || {
            let pid = self.pid(role)?;
            ensure!(pid != old, "still process {old}");
            Ok(pid)
        })
        .await
    }

    /// The REST API with the administrator's key.
    pub fn api(&self) -> Result<Api> {
        Api::new(self.ports.control_plane(), &self.ca_file(), self.admin_key()?)
    }

    /// The key that the first start made.
    pub fn admin_key(&self) -> Result<String> {
        let file = self.data.join("admin.key");
        Ok(fs::read_to_string(&file)
            .with_context(|| file.display().to_string())?
            .trim()
            .to_owned())
    }

    /// The roots that users trust.
    pub fn ca_file(&self) -> PathBuf {
        self.data.join("ca.pem")
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The folder around the data folder: the user's home, for the CLI and for files of a scenario.
    pub fn home(&self) -> &Path {
        self.folder.path()
    }

    /// Every process of ours that works in the data folder, by the folders named on its command line.
    pub fn processes(&self) -> Vec<u32> {
        naming(&self.data)
    }

    fn print_logs(&self) {
        let logs = fs::read_dir(self.data.join("logs"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path());
        for path in [self.home().join("up.log")].into_iter().chain(logs) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            eprintln!(
                "---- {}\n{}",
                path.display(),
                lines[lines.len().saturating_sub(25)..].join("\n")
            );
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(pid) = self.up.as_ref().and_then(Child::id) {
            let _ = signal(pid, Signal::TERM);
            let started = Instant::now();
            while started.elapsed() < STOP && self.processes().iter().any(|pid| alive(*pid)) {
                thread::park_timeout(Duration::from_millis(20));
                // Reaps it, so that it is not taken for alive.
                let _ = self.up.as_mut().map(Child::try_wait);
            }
        }
        for pid in self.processes() {
            let _ = signal(pid, Signal::KILL);
        }
        if !self.finished {
            self.print_logs();
            self.folder.disable_cleanup(self.disk.is_none());
            eprintln!("---- the data folder is kept: {}", self.data.display());
        }
        // Before the folder around it goes.
        self.disk = None;
    }
}
