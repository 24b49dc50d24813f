//! Pages of the executable that only starting needed.
//!
//! One idea: a page of the executable that was never written to can be had again from its file, so a process that has
//! started gives all of them back; those that serving needs come again, many by one short fault while the file is in the
//! page cache, and the others stay away.
//! Must never give back a page that was changed, nor one of another mapping: its contents would be gone.

use std::fs;
use std::ops::Range;
use std::time::Duration;

use rustix::mm::{Advice, madvise};

/// By then a process has started.
const STARTED: Duration = Duration::from_secs(1);

/// Waits a second, and gives back what only starting needed. Does nothing where it cannot be told what may be given back.
pub async fn give_back_after_start() {
    tokio::time::sleep(STARTED).await;
    // It reads tables of the kernel, for a millisecond or so.
    let _ = tokio::task::spawn_blocking(give_back).await;
}

fn give_back() {
    for mapping in own_mappings().iter().filter(|mapping| mapping.may_be_given_back) {
        discard(mapping);
    }
}

fn discard(mapping: &Mapping) {
    let (begin, length) = (mapping.addresses.start, mapping.addresses.len());
    let begin = std::ptr::with_exposed_provenance_mut(begin);
    #[expect(
        unsafe_code,
        reason = "the kernel offers it by address only. The addresses are whole mappings of the running executable, which \
                  nobody unmaps as long as it runs; they are private and not writable, and no page of them is other than \
                  the file has it, neither in memory nor swapped out"
    )]
    // What the kernel refuses (locked memory) stays.
    let _ = unsafe { madvise(begin, length, Advice::LinuxDontNeed) };
}

/// A part of the running executable.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    addresses: Range<usize>,
    /// Bytes.
    resident: usize,
    may_be_given_back: bool,
}

/// The parts of the executable that runs this very function. The linker puts them one after the other; where it leaves gaps
/// (some do on arm64), only those that touch the one with this function.
fn own_mappings() -> Vec<Mapping> {
    let Ok(table) = fs::read_to_string("/proc/self/smaps") else {
        return Vec::new();
    };
    around(&table, own_mappings as fn() -> Vec<Mapping> as usize)
}

/// The mapping that contains `address`, and those that touch it and go on in the same file.
fn around(table: &str, address: usize) -> Vec<Mapping> {
    let entries = entries(table);
    let goes_on = |one: &Entry<'_>, next: &Entry<'_>| {
        // Somebody else's mapping of the same file, next to it by chance, begins anew.
        one.addresses.end == next.addresses.start && one.file == next.file && one.offset < next.offset
    };
    let runs = entries.chunk_by(goes_on);
    let mut own = runs.filter(|run| run.iter().any(|entry| entry.addresses.contains(&address)));
    let run = own.next().unwrap_or_default().iter();
    run.map(|entry| Mapping {
        addresses: entry.addresses.clone(),
        resident: entry.resident,
        may_be_given_back: entry.is_unchanged(),
    })
    .collect()
}

/// What `/proc/self/smaps` says of one mapping.
struct Entry<'a> {
    addresses: Range<usize>,
    rights: &'a str,
    offset: u64,
    file: File<'a>,
    resident: usize,
    /// Bytes that are no longer the file's: those in memory, and those that were swapped out; `None` when nothing is said.
    changed: Option<usize>,
    swapped: Option<usize>,
}

#[derive(PartialEq, Eq)]
struct File<'a> {
    device: &'a str,
    inode: &'a str,
    /// Empty for memory that has none.
    path: &'a str,
}

impl Entry<'_> {
    /// Who emulates a kernel may say 0 of everything: what has nothing in memory has nothing to give.
    fn is_unchanged(&self) -> bool {
        matches!(self.rights, "r--p" | "r-xp")
            && self.file.path.starts_with('/')
            && self.resident > 0
            && (self.changed, self.swapped) == (Some(0), Some(0))
    }
}

/// Each begins with a line such as `5581-55a0 r-xp 00002000 fe:01 1234   /usr/bin/x`; what follows is `Rss:   12 kB`.
/// Empty if any line is neither: it might begin a mapping, and what follows would be said of another one.
fn entries(table: &str) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for line in table.lines() {
        if let Some(entry) = heading(line) {
            entries.push(entry);
            continue;
        }
        let (Some(entry), Some((name, said))) = (entries.last_mut(), line.split_once(':')) else {
            return Vec::new();
        };
        match name {
            "Rss" => entry.resident = bytes(said).unwrap_or_default(),
            "Anonymous" => entry.changed = bytes(said),
            "Swap" => entry.swapped = bytes(said),
            _ if name.contains(' ') => return Vec::new(),
            _ => {}
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
        offset: u64::from_str_radix(rest.next()?, 16).ok()?,
        file: File {
            device: rest.next()?,
            inode: rest.next()?,
            path: rest.next().unwrap_or_default().trim_start(),
        },
        resident: 0,
        changed: None,
        swapped: None,
    })
}

fn bytes(said: &str) -> Option<usize> {
    let kilobytes: usize = said.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
50a0-55a0 r--p 00000000 fe:01 12                         /usr/bin/with space
Rss:                   8 kB
Anonymous:             0 kB
Swap:                  0 kB
55a0-55b0 r--p 00000000 fe:01 12                         /usr/bin/with space
Rss:                   8 kB
Anonymous:             0 kB
Swap:                  0 kB
55b0-55d0 r-xp 00010000 fe:01 12                         /usr/bin/with space
Rss:                  64 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me sd
55d0-55e0 r--p 00030000 fe:01 12                         /usr/bin/with space
Rss:                  12 kB
Anonymous:             4 kB
Swap:                  0 kB
55e0-55e4 r--p 00040000 fe:01 12                         /usr/bin/with space
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  8 kB
55e4-55e8 r--p 00044000 fe:01 12                         /usr/bin/with space
Rss:                   0 kB
Anonymous:             0 kB
Swap:                  0 kB
55e8-55f0 rw-p 00048000 fe:01 12                         /usr/bin/with space
Rss:                  12 kB
Anonymous:             0 kB
Swap:                  0 kB
55f0-5600 rw-p 00000000 00:00 0
Rss:                  12 kB
Anonymous:             0 kB
Swap:                  0 kB
5600-5610 r--p 00000000 fe:01 12                         /usr/bin/with space
Rss:                   8 kB
Anonymous:             0 kB
Swap:                  0 kB
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
            // Relocated, and then made read-only; such that was swapped out since; such of which nothing is known.
            part(0x55d0..0x55e0, 12, false),
            part(0x55e0..0x55e4, 4, false),
            part(0x55e4..0x55e8, 0, false),
            part(0x55e8..0x55f0, 12, false),
        ];
        assert_eq!(around(TABLE, 0x55c0), own);
        // Others have mapped the same file, next to it.
        assert_eq!(around(TABLE, 0x50a0), [part(0x50a0..0x55a0, 8, true)]);
        assert_eq!(around(TABLE, 0x55f0), [part(0x55f0..0x5600, 12, false)]);
        assert_eq!(around(TABLE, 0x6000), []);
    }

    #[test]
    fn a_table_of_which_not_everything_is_understood_gives_nothing() {
        for word in ["Anonymous", "Swap"] {
            let silent = around(&TABLE.replace(word, "Other"), 0x55c0);
            assert!(silent.len() == 6 && silent.iter().all(|mapping| !mapping.may_be_given_back));
        }
        for (known, unknown) in [
            ("55f0-5600 rw-p", "55f0-56x0 rw-p"),
            ("55f0-5600 rw-p", "vm"),
            ("VmFlags: rd", ""),
        ] {
            assert_eq!(around(&TABLE.replace(known, unknown), 0x55c0), []);
        }
        assert_eq!(around("Rss: 1 kB", 0), []);
    }

    #[test]
    fn what_is_given_back_comes_again_and_what_was_relocated_stays() {
        let resident = || {
            let own = own_mappings();
            let unchanged = own.iter().filter(|part| part.may_be_given_back);
            unchanged.map(|part| part.resident).sum::<usize>()
        };
        // Tables of functions are relocated.
        let speaks: [&dyn ToString; 2] = [&7, &"seven"];
        let before = resident();
        give_back();
        let after = resident();
        assert!(after < before, "{before} bytes, then {after}");
        assert_eq!(speaks.map(|one| one.to_string()), ["7", "seven"]);
    }
}
