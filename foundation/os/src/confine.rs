//! How a process gives up rights: no core dump, no debugger, and by Landlock no file outside a short list.
//!
//! One idea: it can only lose, and the answer says truthfully what it lost. Call both first thing in `main`, before any
//! thread exists: a thread that is already running may keep its rights. Must never claim more than the kernel enforces.

use std::path::{Path, PathBuf};

use crate::Error;

/// What a TLS server with name resolution reads from the system. Paths that do not exist are skipped.
pub const SYSTEM_READ: [&str; 16] = [
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/pki/tls/certs",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/dev/urandom",
    "/lib",
    "/proc/self",
    "/run/systemd/resolve",
    "/usr/lib",
    "/usr/share",
];

/// What a confined process may still touch. Connections and open files are not affected.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// Files and folders that it may read.
    pub read: Vec<PathBuf>,
    /// Folders in which it may do everything but execute.
    pub write: Vec<PathBuf>,
}

/// How much of a confinement the kernel enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it.
    Enforced,
    /// The kernel is too old for some rights.
    Partial,
    /// Nothing: no Landlock here.
    NotSupported,
}

/// Confines this process, for ever, as far as the kernel can.
///
/// # Errors
/// [`Error::Protect`] when the kernel supports it and still refuses; nothing may be assumed then.
#[cfg(target_os = "linux")]
pub fn confine(confinement: &Confinement) -> Result<Outcome, Error> {
    use landlock::{
        ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
        path_beneath_rules,
    };
    // What the newest kernels in wide use know; best effort below, told apart in the answer.
    const KNOWN: ABI = ABI::V6;
    let restrict = || {
        let write = AccessFs::from_all(KNOWN) & !AccessFs::Execute;
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))?
            .scope(Scope::from_all(KNOWN))?
            .create()?
            .add_rules(path_beneath_rules(
                existing(&confinement.read),
                AccessFs::from_read(KNOWN) & !AccessFs::Execute,
            ))?
            .add_rules(path_beneath_rules(existing(&confinement.write), write))?
            .restrict_self()
    };
    let status = restrict().map_err(|error| Error::Protect {
        action: "confine the process by Landlock",
        reason: error.to_string(),
    })?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Outcome::Enforced,
        RulesetStatus::PartiallyEnforced => Outcome::Partial,
        RulesetStatus::NotEnforced => Outcome::NotSupported,
    })
}

/// Confines this process: on this operating system there is no way, and the answer says so.
///
/// # Errors
/// None here.
#[cfg(not(target_os = "linux"))]
pub fn confine(_: &Confinement) -> Result<Outcome, Error> {
    Ok(Outcome::NotSupported)
}

/// No core dump, no other process of the same user may read this one's memory, and no program that it starts has more rights.
///
/// # Errors
/// [`Error::Protect`] when the kernel refuses.
#[cfg(target_os = "linux")]
pub fn harden() -> Result<Outcome, Error> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let failed = |error: rustix::io::Errno| Error::Protect {
        action: "forbid core dumps and more rights",
        reason: error.to_string(),
    };
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .map_err(failed)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)?;
    rustix::thread::set_no_new_privs(true).map_err(failed)?;
    Ok(Outcome::Enforced)
}

/// No core dump: on this operating system nothing is done, and the answer says so.
///
/// # Errors
/// None here.
#[cfg(not(target_os = "linux"))]
pub fn harden() -> Result<Outcome, Error> {
    Ok(Outcome::NotSupported)
}

#[cfg(target_os = "linux")]
fn existing(paths: &[PathBuf]) -> Vec<&Path> {
    paths
        .iter()
        .map(PathBuf::as_path)
        .filter(|path| path.exists())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Landlock binds the calling thread, so a thread of its own is a fair stand-in for a process.
    #[test]
    fn sec_159_a_confined_thread_reads_and_writes_only_what_it_was_left() {
        let folder = tempfile::tempdir().expect("temp folder");
        let (own, other) = (folder.path().join("own"), folder.path().join("other"));
        std::fs::create_dir(&own).expect("created");
        std::fs::create_dir(&other).expect("created");
        std::fs::write(other.join("secret"), "x").expect("written");
        let check = move || {
            let outcome = confine(&Confinement {
                read: vec!["/etc/hosts".into()],
                write: vec![own.clone()],
            });
            let outcome = outcome.expect("no error");
            std::fs::write(own.join("file"), "mine").expect("own folder stays writable");
            let escaped = std::fs::read(other.join("secret")).is_ok() || std::fs::write(other.join("new"), "").is_ok();
            (outcome, escaped)
        };
        let (outcome, escaped) = std::thread::spawn(check).join().expect("no panic");
        assert_eq!(escaped, outcome == Outcome::NotSupported, "{outcome:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn sec_112_a_hardened_process_leaves_no_core() {
        assert_eq!(harden().expect("allowed"), Outcome::Enforced);
        use rustix::process::{DumpableBehavior, dumpable_behavior};
        assert_eq!(dumpable_behavior().expect("known"), DumpableBehavior::NotDumpable);
        assert!(rustix::thread::no_new_privs().expect("known"));
        let limits = std::fs::read_to_string("/proc/self/limits").expect("readable");
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .expect("listed");
        assert_eq!(core.split_ascii_whitespace().nth(4), Some("0"), "{core}");
    }
}
