//! Which ports a Dapr Server has: recorded, so that they stay the same over restarts of anything.
//!
//! One idea: a small JSON file is the truth; a port is given out only if nobody listens there now. Blocks on local
//! disk. Must never move a recorded port to another App ID, nor give one out before the record is on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::json_file;
use crate::{Error, PortRange};

/// The two listeners of one Dapr Server, on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppPorts {
    pub(crate) gateway: u16,
    pub(crate) internal: u16,
}

impl AppPorts {
    pub(crate) fn gateway_address(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.gateway).into()
    }

    pub(crate) fn internal_address(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.internal).into()
    }
}

/// All recorded ports by `<project id>/<app id>`.
pub(crate) struct Ports {
    path: PathBuf,
    range: PortRange,
    apps: Mutex<BTreeMap<String, AppPorts>>,
}

impl Ports {
    /// Reads the record.
    pub(crate) fn open(path: PathBuf, range: PortRange) -> Result<Self, Error> {
        let apps: BTreeMap<_, _> = json_file::read(&path)?.unwrap_or_default();
        Ok(Self {
            path,
            range,
            apps: Mutex::new(apps),
        })
    }

    fn apps(&self) -> MutexGuard<'_, BTreeMap<String, AppPorts>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The recorded ports.
    pub(crate) fn get(&self, name: &str) -> Option<AppPorts> {
        self.apps().get(name).copied()
    }

    /// The recorded ports, or new ones.
    pub(crate) fn ensure(&self, name: &str) -> Result<AppPorts, Error> {
        let mut apps = self.apps();
        if let Some(ports) = apps.get(name) {
            return Ok(*ports);
        }
        let taken: BTreeSet<u16> = apps
            .values()
            .flat_map(|ports| [ports.gateway, ports.internal])
            .collect();
        let mut free = (self.range.from..=self.range.to)
            .filter(|port| !taken.contains(port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        let (Some(gateway), Some(internal)) = (free.next(), free.next()) else {
            return Err(Error::Ports {
                from: self.range.from,
                to: self.range.to,
            });
        };
        let ports = AppPorts { gateway, internal };
        let mut next = apps.clone();
        next.insert(name.to_owned(), ports);
        json_file::write(&self.path, &next)?;
        *apps = next;
        Ok(ports)
    }

    /// Gives the ports back.
    pub(crate) fn release(&self, name: &str) -> Result<(), Error> {
        let mut apps = self.apps();
        let mut next = apps.clone();
        if next.remove(name).is_some() {
            json_file::write(&self.path, &next)?;
            *apps = next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_stable_and_never_somebody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = busy.local_addr().unwrap().port().min(65_000);
        let range = PortRange {
            from: port,
            to: port + 400,
        };
        let open = || Ports::open(folder.path().join("ports.json"), range).unwrap();
        let ports = open().ensure("prj-a/orders").unwrap();
        assert_eq!(open().get("prj-a/orders"), Some(ports));
        assert!(ports.gateway != ports.internal && ports.gateway != busy.local_addr().unwrap().port());
        let store = open();
        store.release("prj-a/orders").unwrap();
        assert_eq!(open().get("prj-a/orders"), None);
        let none = Ports::open(folder.path().join("other.json"), PortRange { from: port, to: port }).unwrap();
        assert!(matches!(none.ensure("x"), Err(Error::Ports { .. })));
    }
}
