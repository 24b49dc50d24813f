//! What `/proc` says about a process: when it started, which executable it runs, with which arguments.
//!
//! One idea: pid, start time and boot together name one process for ever. Must never be trusted without a pidfd that is
//! opened before and still alive after: see [`crate::Process::adopt`].

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Which process it is, in a form that outlives its parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Its pid.
    pub pid: u32,
    /// When it started: clock ticks since boot, as in field 22 of `/proc/<pid>/stat`.
    pub start_time: u64,
    /// What it runs: absolute path without symbolic links.
    pub executable: PathBuf,
}

impl Fingerprint {
    /// Whether the process that has this pid now is the same one.
    ///
    /// The executable of a process that made itself not dumpable can be read only by root; then pid and start time
    /// decide, which is sound within one boot: no pid comes round twice in one clock tick.
    pub(crate) fn matches_now(&self) -> bool {
        if start_time(self.pid).ok() != Some(self.start_time) {
            return false;
        }
        match executable(self.pid) {
            Ok(path) => path == self.executable,
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
}

/// Names this boot of the machine: start times of another one mean nothing.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The pids of this user whose complete argument list satisfies `wanted`. What has just ended may be among them.
pub fn processes_whose_arguments(wanted: impl Fn(&[OsString]) -> bool) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_own(*pid) && arguments(*pid).is_some_and(|list| wanted(&list)))
        .collect()
}

/// Whether `pid` belongs to this user. The owner of its files in `/proc` does not say so: of one that is not dumpable it is
/// root.
fn is_own(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let user = user.and_then(|ids| ids.split_ascii_whitespace().next()?.parse().ok());
    user == Some(rustix::process::getuid().as_raw())
}

/// Whether `pid` runs this program. Of a process that made itself not dumpable only root can tell; then it is believed.
pub(crate) fn runs(pid: u32, program: &Path) -> bool {
    match executable(pid) {
        Ok(path) => fs::canonicalize(program).is_ok_and(|program| path == program),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Start time of `pid` in clock ticks since boot.
pub(crate) fn start_time(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_start_time(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn executable(pid: u32) -> io::Result<PathBuf> {
    let path = fs::read_link(format!("/proc/{pid}/exe"))?;
    // A rebuilt or upgraded executable: the process still runs what it was started with.
    let bytes = path.as_os_str().as_bytes();
    Ok(bytes.strip_suffix(b" (deleted)").map_or_else(
        || path.clone(),
        |old| Path::new(&OsString::from_vec(old.to_vec())).to_owned(),
    ))
}

/// The complete argument list of `pid`, the program first; `None` for a zombie and for whoever is gone.
pub fn arguments(pid: u32) -> Option<Vec<OsString>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let bytes = bytes.strip_suffix(b"\0")?;
    Some(
        bytes
            .split(|byte| *byte == 0)
            .map(|part| OsString::from_vec(part.to_vec()))
            .collect(),
    )
}

/// The command name in field 2 may hold spaces and parentheses: fields are counted from the last `)`.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_found_behind_a_hostile_command_name() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) b ) c) {}", fields.join(" "));
        assert_eq!(parse_start_time(&stat), Some(22));
        assert_eq!(parse_start_time("7 (cut"), None);
    }

    #[test]
    fn sec_017_a_fingerprint_fits_only_its_own_process() {
        let pid = std::process::id();
        let own = Fingerprint {
            pid,
            start_time: start_time(pid).expect("own start time"),
            executable: fs::canonicalize("/proc/self/exe").expect("own executable"),
        };
        assert!(own.matches_now());
        assert!(
            !Fingerprint {
                start_time: own.start_time + 1,
                ..own.clone()
            }
            .matches_now()
        );
        assert!(
            !Fingerprint {
                executable: "/bin/false".into(),
                ..own.clone()
            }
            .matches_now()
        );
        assert!(!boot_id().is_empty());
        let mine: Vec<OsString> = std::env::args_os().collect();
        assert!(processes_whose_arguments(|list| list == mine).contains(&pid));
    }
}
