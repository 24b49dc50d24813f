//! Starts a program: no shell, an almost empty environment, its own process group (whoever is left in it is killed when the
//! program has ended and is waited for), its log in a file, files that only its owner may read, no way to more rights,
//! limits set before it is told anything.
//!
//! One idea: a child waits on its standard input first, so whatever must be true before it acts (limits, an entry in a
//! ledger) is done between [`Launch::spawn`] and [`Stdin::feed`]. Must never put a secret into arguments or environment.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::fs::Mode;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, umask};
use rustix::thread::set_no_new_privs;

use crate::{Error, Fingerprint, MAX_STDIN, Process, inspect, logs};

/// All that a child gets from its parent's environment.
const KEPT_VARIABLES: [&str; 4] = ["LANG", "TZ", "RUST_BACKTRACE", "SSL_CERT_FILE"];

/// What a child may use at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Private memory in bytes (RLIMIT_DATA: heap, stacks and private mappings that can be written, whether touched or not;
    /// files that are mapped do not count). An allocation beyond it fails. No bound when absent.
    pub memory_bytes: Option<u64>,
    /// Open files (RLIMIT_NOFILE); as many as the system allows when absent.
    pub open_files: Option<u64>,
}

/// A program to be started.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// Absolute path of the executable.
    pub program: &'a Path,
    /// Its arguments, without the program's name.
    pub arguments: &'a [OsString],
    /// Its working folder.
    pub folder: &'a Path,
    /// Where its standard output and error are appended.
    pub log: &'a Path,
    /// What it may use.
    pub limits: Limits,
}

impl Launch<'_> {
    /// Starts the program. Blocks for the time of a fork and exec. Must be called inside a Tokio runtime. What a child
    /// inherits is set on the parent for good: on the process that it makes files for itself alone, on the calling thread
    /// that no program started from it has more rights than it (set-user-ID and the like mean nothing).
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::File`] for the log, [`Error::Process`] when limits cannot be set. Then nothing is left of it.
    pub fn spawn(&self) -> Result<(Process, Stdin), Error> {
        let failed = |source| Error::Start {
            program: self.program.to_owned(),
            source,
        };
        let executable = std::fs::canonicalize(self.program).map_err(failed)?;
        set_no_new_privs(true).map_err(|error| failed(error.into()))?;
        umask(Mode::RWXG | Mode::RWXO);
        let log = logs::open(self.log)?;
        let errors = log.try_clone().map_err(failed)?;
        let mut child = Command::new(self.program)
            .args(self.arguments)
            .current_dir(self.folder)
            .env_clear()
            .envs(
                KEPT_VARIABLES
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let started = self.hold(&mut child, executable);
        if started.is_err() {
            // Killed and reaped here, since there is no `Process` that would ever do it.
            let _ = child.kill();
            let _ = child.wait();
        }
        started
    }

    fn hold(&self, child: &mut Child, executable: PathBuf) -> Result<(Process, Stdin), Error> {
        let pid = child.id();
        let stdin = child.stdin.take().ok_or_else(|| Error::Start {
            program: self.program.to_owned(),
            source: std::io::ErrorKind::BrokenPipe.into(),
        })?;
        // Not reaped before `Process` does it, so the pid cannot have changed hands yet.
        let inspect = |source| Error::Process {
            action: "inspect",
            pid,
            source,
        };
        let process = Process::hold(Fingerprint {
            pid,
            start_time: inspect::start_time(pid).map_err(inspect)?,
            executable,
        })?;
        self.limits.apply(pid)?;
        Ok((process.leading(), Stdin(stdin)))
    }
}

/// The writing end of a child's standard input. Dropped unfed, the child sees the end of its input.
#[derive(Debug)]
pub struct Stdin(ChildStdin);

impl Stdin {
    /// Writes `input` once and closes. Never blocks: the pipe holds it all. A child that is already gone is no error
    /// here: its exit tells more.
    ///
    /// # Errors
    /// [`Error::StdinTooLarge`].
    pub fn feed(mut self, input: &[u8]) -> Result<(), Error> {
        if input.len() > MAX_STDIN {
            return Err(Error::StdinTooLarge(input.len()));
        }
        let _ = self.0.write_all(input);
        Ok(())
    }
}

impl Limits {
    fn apply(self, pid: u32) -> Result<(), Error> {
        let most_files = getrlimit(Resource::Nofile).maximum;
        let files = match (self.open_files, most_files) {
            (Some(wanted), Some(most)) => Some(wanted.min(most)),
            (wanted, most) => wanted.or(most),
        };
        let set = |resource, limit: Option<u64>| {
            let limit = Rlimit {
                current: limit,
                maximum: limit,
            };
            let target = i32::try_from(pid).ok().and_then(Pid::from_raw);
            prlimit(target, resource, limit).map_err(|error| Error::Process {
                action: "limit",
                pid,
                source: error.into(),
            })
        };
        // No core file: it would hold keys and tokens.
        set(Resource::Core, Some(0))?;
        set(Resource::Nofile, files)?;
        if self.memory_bytes.is_some() {
            set(Resource::Data, self.memory_bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
