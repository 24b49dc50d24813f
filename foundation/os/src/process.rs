//! A process held by pidfd: wait for its end and signal it, without ever touching another one that got its pid.
//!
//! Works for own children and for strangers alike; only a parent learns the exit code, and only a parent can end what a
//! child leaves behind. Must never be made from a bare pid that somebody else reported: use [`Process::adopt`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, kill_process_group, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::{Error, Fingerprint};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Not our child, so nobody told us.
    Unknown,
}

/// The signals that a supervisor sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Please stop.
    Terminate,
    /// Stop now.
    Kill,
}

/// A handle that stays with one process. Must be made inside a Tokio runtime.
#[derive(Debug)]
pub struct Process {
    pidfd: AsyncFd<OwnedFd>,
    fingerprint: Fingerprint,
    /// An own child, at the head of a process group that was made for it.
    leads: bool,
    exit: OnceLock<Exit>,
}

impl Process {
    /// The process with this fingerprint, if it still runs; `None` when it is gone or another one has its pid.
    ///
    /// # Errors
    /// [`Error::Process`] when the kernel gives no pidfd for another reason than that the process is gone.
    pub fn adopt(fingerprint: &Fingerprint) -> Result<Option<Self>, Error> {
        let process = match Self::hold(fingerprint.clone()) {
            Ok(process) => process,
            Err(Error::Process { source, .. }) if gone(&source) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Still running after the look means that the look was at this process.
        Ok((fingerprint.matches_now() && process.is_running()).then_some(process))
    }

    /// Whoever has `pid` now. For processes found by their arguments; compare those again before acting.
    ///
    /// # Errors
    /// [`Error::Process`], also when there is none.
    pub fn open(pid: u32) -> Result<Self, Error> {
        let start_time = crate::inspect::start_time(pid).map_err(|source| failed("inspect", pid, source))?;
        Self::hold(Fingerprint {
            pid,
            start_time,
            executable: Default::default(),
        })
    }

    /// A pidfd for the process that has the fingerprint's pid at this moment.
    pub(crate) fn hold(fingerprint: Fingerprint) -> Result<Self, Error> {
        let open = |source| failed("open", fingerprint.pid, source);
        let pid = i32::try_from(fingerprint.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| open(io::ErrorKind::InvalidInput.into()))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| open(error.into()))?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types that lie about their descriptor; an OwnedFd does not"
        )]
        let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE).map_err(open)?;
        Ok(Self {
            pidfd,
            fingerprint,
            leads: false,
            exit: OnceLock::new(),
        })
    }

    /// The same, of an own child that was started at the head of a group of its own: the group ends with it.
    pub(crate) fn leading(self) -> Self {
        Self { leads: true, ..self }
    }

    /// Its pid. Safe to compare and to show; to act on it, use the handle.
    pub fn pid(&self) -> u32 {
        self.fingerprint.pid
    }

    /// What to write down in order to find it again.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Whether it has not ended yet; a zombie has.
    pub fn is_running(&self) -> bool {
        let mut fds = [PollFd::new(self.pidfd.get_ref(), PollFlags::IN)];
        matches!(poll(&mut fds, Some(&rustix::event::Timespec::default())), Ok(0))
    }

    /// Whether it runs this program now. Of a process that made itself not dumpable only root can tell; then it is believed,
    /// so its arguments have to be known already.
    pub fn runs(&self, program: &Path) -> bool {
        // Still running after the look means that the look was at this process.
        crate::inspect::runs(self.pid(), program) && self.is_running()
    }

    /// Waits for its end and, for a child, reaps it. What a child that was started here has left in its process group is
    /// killed before that; of a process that was adopted it is not, since its pid may belong to somebody else by then. Every
    /// caller gets the same answer.
    pub async fn ended(&self) -> Exit {
        // The pidfd of an ended process stays readable; an error here means that the runtime stops.
        let _ = self.pidfd.readable().await;
        *self.exit.get_or_init(|| {
            self.end_group();
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            match waitid(WaitId::PidFd(self.pidfd.get_ref().as_fd()), options) {
                Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => Exit::Unknown,
                },
                Ok(None) | Err(_) => Exit::Unknown,
            }
        })
    }

    /// Kills what an own child has left behind. Only between its end and its reaping: a group has no pidfd, but as long as its
    /// head is not reaped nobody else can get the number.
    fn end_group(&self) {
        // The dead child must be there: where SIGCHLD is ignored, which a parent may hand down, nobody has to reap it.
        let there = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let is_there = || matches!(waitid(WaitId::PidFd(self.pidfd.get_ref().as_fd()), there), Ok(Some(_)));
        if !self.leads || !is_there() {
            return;
        }
        if let Some(group) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            // Nobody is left but the dead child, as a rule. What changed its user cannot be killed, and nobody waits for it.
            let _ = kill_process_group(group, rustix::process::Signal::KILL);
        }
    }

    /// Sends a signal; to a process that has ended this is success.
    ///
    /// # Errors
    /// [`Error::Process`], for instance when it belongs to another user.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        let number = match signal {
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Kill => rustix::process::Signal::KILL,
        };
        match pidfd_send_signal(self.pidfd.get_ref(), number).map_err(io::Error::from) {
            Err(source) if !gone(&source) => Err(failed("signal", self.pid(), source)),
            _ => Ok(()),
        }
    }

    /// Asks it to stop, waits up to `grace`, then kills it and waits for the end.
    ///
    /// # Errors
    /// [`Error::Process`] when it cannot be signalled.
    pub async fn stop(&self, grace: Duration) -> Result<Exit, Error> {
        self.signal(Signal::Terminate)?;
        if let Ok(exit) = tokio::time::timeout(grace, self.ended()).await {
            return Ok(exit);
        }
        self.signal(Signal::Kill)?;
        Ok(self.ended().await)
    }
}

fn gone(source: &io::Error) -> bool {
    source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

fn failed(action: &'static str, pid: u32, source: io::Error) -> Error {
    Error::Process { action, pid, source }
}
