//! Who listens on a port, read from `/proc`: only for an error message, only after a bind has failed.
//!
//! Must never fail: what this user may not see is simply not said.

use std::fs;

const LISTENING: &str = "0A";

/// "name (pid 123)" of a process that listens on TCP `port`.
pub(super) fn of_port(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|table| inode(table, port))?;
    let target = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(entry.path().join("fd")) else {
            continue;
        };
        let holds = |link: fs::DirEntry| fs::read_link(link.path()).is_ok_and(|to| to.as_os_str() == target.as_str());
        if files.flatten().any(holds) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

/// Columns: number, local address, remote address, state, …, and the inode in tenth place.
fn inode(table: &str, port: u16) -> Option<String> {
    let port = format!(":{port:04X}");
    fs::read_to_string(table)
        .ok()?
        .lines()
        .find_map(|line| {
            let columns: Vec<_> = line.split_whitespace().collect();
            (columns.get(1)?.ends_with(&port) && *columns.get(3)? == LISTENING).then(|| columns.get(9).copied())?
        })
        .map(str::to_owned)
}
