//! Pages of the executable that only starting needed.
//!
//! One idea: a page of the executable that was never written to can be had again from its file, so a process that has
//! started gives all of them back; those that serving needs come again, many by one short fault, and the others stay away.
//! Must never give back a page that was changed, nor one of another mapping: its contents would be gone.

use std::fs;
use std::ops::Range;
use std::time::Duration;

use rustix::mm::{Advice, madvise};

/// Until a process counts as started.
const STARTED: Duration = Duration::from_secs(1);

/// Waits until this process has started, and gives back what only that needed. Does nothing where it cannot be told what may
/// be given back.
pub async fn give_back_after_start() {
    tokio::time::sleep(STARTED).await;
    // It reads tables of the kernel, for a millisecond or so.
    let _ = tokio::task::spawn_blocking(give_back).await;
}

/// How many bytes were given back.
fn give_back() -> usize {
    let unchanged = own_mappings().into_iter().filter(|mapping| mapping.may_be_given_back);
    unchanged.map(|mapping| discard(&mapping)).sum()
}

/// How many bytes of it were resident.
fn discard(mapping: &Mapping) -> usize {
    let (begin, length) = (mapping.addresses.start, mapping.addresses.len());
    let begin = std::ptr::with_exposed_provenance_mut(begin);
    #[expect(
        unsafe_code,
        reason = "the kernel offers it by address only. The addresses are whole mappings of the running executable, which \
                  nobody unmaps as long as it runs; they are private and not writable, and no page of them was ever written \
                  to, so that what the file has is what they have"
    )]
    let done = unsafe { madvise(begin, length, Advice::LinuxDontNeed) };
    if done.is_ok() { mapping.resident } else { 0 }
}

/// A part of the running executable.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    addresses: Range<usize>,
    /// Bytes.
    resident: usize,
    may_be_given_back: bool,
}

/// The parts of the executable that runs this very function: the kernel puts them one after the other.
fn own_mappings() -> Vec<Mapping> {
    let Ok(table) = fs::read_to_string("/proc/self/smaps") else {
        return Vec::new();
    };
    around(&table, own_mappings as fn() -> Vec<Mapping> as usize)
}

/// The mapping that contains `address`, and those of the same file that touch it.
fn around(table: &str, address: usize) -> Vec<Mapping> {
    let mut run: Vec<Mapping> = Vec::new();
    let mut file = "";
    for entry in entries(table) {
        let follows = run
            .last()
            .is_some_and(|last| last.addresses.end == entry.addresses.start);
        if !follows || entry.file != file {
            if run.iter().any(|mapping| mapping.addresses.contains(&address)) {
                return run;
            }
            run.clear();
            file = entry.file;
        }
        run.push(Mapping {
            may_be_given_back: entry.is_unchanged(),
            addresses: entry.addresses,
            resident: entry.resident,
        });
    }
    match run.iter().any(|mapping| mapping.addresses.contains(&address)) {
        true => run,
        false => Vec::new(),
    }
}

/// What `/proc/self/smaps` says of one mapping.
struct Entry<'a> {
    addresses: Range<usize>,
    rights: &'a str,
    file: &'a str,
    resident: usize,
    /// Bytes that are no longer the file's; `None` when nothing is said of them.
    changed: Option<usize>,
}

impl Entry<'_> {
    fn is_unchanged(&self) -> bool {
        matches!(self.rights, "r--p" | "r-xp") && self.file.starts_with('/') && self.changed == Some(0)
    }
}

/// Each begins with a line such as `5581-55a0 r-xp 00002000 fe:01 1234   /usr/bin/x`; what follows is `Rss:   12 kB`.
fn entries(table: &str) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for line in table.lines() {
        if let Some(entry) = heading(line) {
            entries.push(entry);
        } else if let (Some(entry), Some((name, amount))) = (entries.last_mut(), amount(line)) {
            match name {
                "Rss" => entry.resident = amount,
                "Anonymous" => entry.changed = Some(amount),
                _ => {}
            }
        }
    }
    entries
}

fn heading(line: &str) -> Option<Entry<'_>> {
    let (addresses, rest) = line.split_once(' ')?;
    let (start, end) = addresses.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let mut rest = rest.splitn(5, ' ');
    Some(Entry {
        addresses: address(start)?..address(end)?,
        rights: rest.next()?,
        file: rest.nth(3)?.trim_start(),
        resident: 0,
        changed: None,
    })
}

fn amount(line: &str) -> Option<(&str, usize)> {
    let (name, amount) = line.split_once(':')?;
    let kilobytes: usize = amount.trim().strip_suffix(" kB")?.parse().ok()?;
    Some((name, kilobytes.checked_mul(1024)?))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const TABLE: &str = "\
55a0-55b0 r--p 00000000 fe:01 12                         /usr/bin/with space
Rss:                   8 kB
Anonymous:             0 kB
55b0-55d0 r-xp 00010000 fe:01 12                         /usr/bin/with space
Rss:                  64 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
55d0-55e0 r--p 00030000 fe:01 12                         /usr/bin/with space
Rss:                  12 kB
Anonymous:             4 kB
55e0-55f0 rw-p 00040000 fe:01 12                         /usr/bin/with space
Rss:                  12 kB
Anonymous:             0 kB
55f0-5600 rw-p 00000000 00:00 0                          [heap]
Rss:                  12 kB
Anonymous:             0 kB
7f00-7f10 r--p 00000000 fe:01 12                         /usr/bin/with space
Rss:                   8 kB
Anonymous:             0 kB
";

    #[test]
    fn only_unchanged_parts_of_the_running_executable_may_be_given_back() {
        let part = |addresses, kilobytes: usize, may_be_given_back| Mapping {
            addresses,
            resident: kilobytes * 1024,
            may_be_given_back,
        };
        let own = [
            part(0x55a0..0x55b0, 8, true),
            part(0x55b0..0x55d0, 64, true),
            // Relocated, and then made read-only.
            part(0x55d0..0x55e0, 12, false),
            part(0x55e0..0x55f0, 12, false),
        ];
        assert_eq!(around(TABLE, 0x55c0), own);
        assert_eq!(around(TABLE, 0x7f00), [part(0x7f00..0x7f10, 8, true)]);
        assert_eq!(around(TABLE, 0x6000), []);
        // A kernel that does not say what was changed.
        let silent = TABLE.replace("Anonymous", "Other");
        assert!(around(&silent, 0x55c0).iter().all(|mapping| !mapping.may_be_given_back));
        assert_eq!(around("nonsense\n- - -\nRss: 1 kB", 0), []);
    }

    #[test]
    fn what_is_given_back_comes_again_and_what_was_changed_stays() {
        static CHANGED: AtomicU32 = AtomicU32::new(1);
        CHANGED.store(2, Ordering::SeqCst);
        let text = || own_mappings().iter().filter(|part| part.may_be_given_back).count();
        assert!(text() >= 2, "{:?}", own_mappings());
        // Tables of functions are relocated.
        let speaks: [&dyn ToString; 2] = [&7, &"seven"];
        assert!(give_back() > 64 * 1024);
        assert_eq!(speaks.map(|one| one.to_string()), ["7", "seven"]);
        assert_eq!(CHANGED.load(Ordering::SeqCst), 2);
    }
}
