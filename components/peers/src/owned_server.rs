//! A real server for the time of one test: its process, its folder, its ports.
//!
//! One idea: the tests own the server they talk to, so they may do anything to it; what it said last is shown when the thread
//! that owns it panics. Must never use one that was already running, nor outlive the test.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempDir};

use crate::free_ports;

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct OwnedServer<const PORTS: usize> {
    child: Child,
    /// Signal that ends it; one that holds things of the machine beyond its folder is asked to let go of them.
    pub(crate) farewell: Option<&'static str>,
    pub(crate) ports: [u16; PORTS],
    folder: TempDir,
    said: Said,
}

/// What a process wrote to its two outputs.
#[derive(Debug)]
struct Said {
    package: String,
    file: NamedTempFile,
}

/// How much of it is shown, in bytes.
const SHOWN: i64 = 8 * 1024;

impl Said {
    fn new(package: &str) -> Self {
        // Whoever opens its output once more writes at the end, too.
        let file = tempfile::Builder::new().append(true).tempfile();
        Said {
            package: package.to_owned(),
            file: file.expect("a file for what a server says"),
        }
    }

    fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let output = || self.file.as_file().try_clone();
        command.stdin(Stdio::null()).stdout(output()?).stderr(output()?).spawn()
    }

    /// Shows the end of it. Runs while a test fails, so it must not fail itself.
    fn show(&self) {
        let mut end = Vec::new();
        let read = self.file.reopen().and_then(|mut file| {
            let length = i64::try_from(file.metadata()?.len()).unwrap_or(SHOWN);
            file.seek(SeekFrom::End(-length.min(SHOWN)))?;
            file.read_to_end(&mut end)
        });
        if read.is_ok() && !end.is_empty() {
            let (package, end) = (&self.package, String::from_utf8_lossy(&end));
            let _ = writeln!(io::stderr(), "what the server of {package} said last:\n{end}");
        }
    }
}

impl<const PORTS: usize> OwnedServer<PORTS> {
    /// Starts what `command` makes of a folder and ports, and waits until it serves.
    ///
    /// # Panics
    /// When it cannot be started or does not come up, naming the Debian `package`: a missing server must not look like a
    /// passed test.
    pub(crate) async fn start(
        package: &str,
        patience: Duration,
        command: impl Fn(&TempDir, [u16; PORTS]) -> Command,
        serves: impl AsyncFn([u16; PORTS]) -> bool,
    ) -> Self {
        for _ in 0..5 {
            // If somebody takes one meanwhile, the server ends at once and the next one is tried.
            let ports = free_ports();
            let folder = tempfile::tempdir().expect("a folder for the server");
            let said = Said::new(package);
            let child = said
                .spawn(&mut command(&folder, ports))
                .unwrap_or_else(|error| panic!("a server must be installed: `apt-get install {package}`: {error}"));
            let mut server = Self {
                child,
                farewell: None,
                ports,
                folder,
                said,
            };
            let started = Instant::now();
            loop {
                if serves(ports).await {
                    return server;
                }
                if server.child.try_wait().ok().flatten().is_some() {
                    server.said.show();
                    break;
                }
                assert!(started.elapsed() < patience, "the server of {package} does not serve");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        panic!("the server of {package} does not start");
    }
}

impl<const PORTS: usize> OwnedServer<PORTS> {
    /// Its folder.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Ends its process by a signal and starts what `command` makes of the same folder and ports.
    ///
    /// # Panics
    /// When it does not end, or does not come up again.
    pub(crate) async fn restart(
        &mut self,
        signal: &str,
        patience: Duration,
        command: impl Fn(&TempDir, [u16; PORTS]) -> Command,
        serves: impl AsyncFn([u16; PORTS]) -> bool,
    ) {
        self.end(signal, patience).await;
        self.start_again(patience, command, serves).await;
    }

    /// Ends its process by a signal.
    ///
    /// # Panics
    /// When it does not end.
    pub(crate) async fn end(&mut self, signal: &str, patience: Duration) {
        self.signal(signal);
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            assert!(asked.elapsed() < patience, "the server does not end by {signal}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts what `command` makes of the folder and ports of one that ended.
    ///
    /// # Panics
    /// When it does not come up again.
    pub(crate) async fn start_again(
        &mut self,
        patience: Duration,
        command: impl Fn(&TempDir, [u16; PORTS]) -> Command,
        serves: impl AsyncFn([u16; PORTS]) -> bool,
    ) {
        let child = self.said.spawn(&mut command(&self.folder, self.ports));
        self.child = child.expect("it was started before");
        let started = Instant::now();
        while !serves(self.ports).await {
            assert!(started.elapsed() < patience, "the server does not come up again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends its process a signal, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let _ = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
    }
}

impl<const PORTS: usize> Drop for OwnedServer<PORTS> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.said.show();
        }
        if let Some(signal) = self.farewell {
            self.signal(signal);
            let asked = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < Duration::from_secs(5) {
                std::thread::park_timeout(Duration::from_millis(10));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this is run by root, as whom some servers refuse to run.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}
