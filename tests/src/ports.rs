//! Ports for one installation, apart from those of every other test that runs at the same time.
//!
//! One idea: a block of ports below the range of outgoing connections belongs to whoever holds the lock on its file. The
//! kernel releases the lock when the test ends, however it ends. Must never hand out a port that another
//! test's installation may get.

use std::{
    env,
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
};

use anyhow::{Context, Result, bail};

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

    /// Everything that listens in this block now, by the addresses in `/proc/net`.
    pub fn listening(&self) -> Result<Vec<SocketAddr>> {
        const LISTEN: &str = "0A";
        let mut found = Vec::new();
        for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
            for line in fs::read_to_string(file)?.lines().skip(1) {
                let mut fields = line.split_ascii_whitespace().skip(1);
                let (local, state) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
                let (address, port) = local.split_once(':').context("no port")?;
                let port = u16::from_str_radix(port, 16)?;
                if state == LISTEN && (self.first..self.first + SIZE).contains(&port) {
                    found.push((read_address(address)?, port).into());
                }
            }
        }
        found.sort();
        // Workers share a port.
        found.dedup();
        Ok(found)
    }

    /// Where the internal ports begin.
    pub fn internal(&self) -> u16 {
        self.first + 10
    }
}

/// The kernel writes an address as 32-bit words in the machine's own byte order.
fn read_address(hex: &str) -> Result<IpAddr> {
    let word = |at: usize| hex.get(at..at + 8).context("an address of another length");
    let word = |at| Ok::<_, anyhow::Error>(u32::from_str_radix(word(at)?, 16)?.to_ne_bytes());
    if hex.len() == 8 {
        return Ok(IpAddr::from(word(0)?));
    }
    let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
    Ok(IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice())?))
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
