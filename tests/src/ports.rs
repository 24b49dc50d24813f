//! Ports for one installation, apart from those of every other test that runs at the same time.
//!
//! One idea: a block of ports below the range of outgoing connections belongs to whoever holds the lock on its file. The
//! kernel releases the lock when the test ends, however it ends.

use std::{
    env,
    fs::File,
    net::{Ipv4Addr, TcpListener},
};

use anyhow::{Result, bail};

/// Ports of a block; an installation with a few App IDs needs fewer.
const SIZE: u16 = 100;
const FIRST: u16 = 18_000;
const BLOCKS: u16 = 120;

/// A block of free ports.
pub struct Ports {
    first: u16,
    _lock: File,
}

impl Ports {
    /// Takes a block in which every port is free.
    pub fn take() -> Result<Self> {
        let offset = u16::try_from(std::process::id() % u32::from(BLOCKS))?;
        for block in (0..BLOCKS).map(|i| (i + offset) % BLOCKS) {
            let first = FIRST + block * SIZE;
            let lock = File::create(env::temp_dir().join(format!("palladium-test-ports-{first}.lock")))?;
            let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            if lock.try_lock().is_ok() && (first..first + SIZE).all(free) {
                return Ok(Self { first, _lock: lock });
            }
        }
        bail!("no free block of {SIZE} ports from {FIRST} up")
    }

    /// The control plane's REST API.
    pub fn control_plane(&self) -> u16 {
        self.first
    }

    /// The regions' stream.
    pub fn stream(&self) -> u16 {
        self.first + 1
    }

    /// The gateway.
    pub fn gateway(&self) -> u16 {
        self.first + 2
    }

    /// For whatever a scenario starts itself: a Redis, an application, a peer; `index` below 7.
    pub fn extra(&self, index: u16) -> u16 {
        self.first + 3 + index % 7
    }

    /// Where the internal ports begin.
    pub fn internal(&self) -> u16 {
        self.first + 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_differ_while_they_are_held() {
        let (a, b) = (Ports::take().expect("a block"), Ports::take().expect("another"));
        assert!(a.first.abs_diff(b.first) >= SIZE);
    }
}
