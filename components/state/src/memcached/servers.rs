//! The servers of one store, and idle connections to each.
//!
//! One idea: a key lives on the server that Dapr's client would take for it, so both find the same values. A connection
//! that was idle may have been closed meanwhile: then, and only then, a command is said again on a new one, and every
//! command here may be said twice. Must never hand on a connection whose answer was not read to its end.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use palladium_component::{MetadataError, StateError};
use tokio::sync::Semaphore;

use super::connection::{Answer, Command, Connection};

/// Connections to one server at a time; who finds none waits, within its time.
const CONNECTIONS: usize = 128;
/// What an item takes beside key and value: header, suffix and line end, generously.
const ITEM_OVERHEAD: usize = 128;

pub(super) struct Servers {
    servers: Vec<Server>,
    max_idle: usize,
    timeout: Duration,
}

struct Server {
    address: String,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
    /// 0 = not known.
    largest_item: AtomicUsize,
}

impl Servers {
    pub(super) fn new(hosts: &str, max_idle: usize, timeout: Duration) -> Result<Self, MetadataError> {
        let mut servers = Vec::new();
        for host in hosts.split(',').map(str::trim).filter(|host| !host.is_empty()) {
            let bad =
                |reason: &str| MetadataError::new("hosts", reason, "use 'host:port', several separated by commas");
            let (name, port) = host.rsplit_once(':').ok_or_else(|| bad("an address has no port"))?;
            if name.is_empty() || name.contains('/') || port.parse::<u16>().is_err() {
                return Err(bad("an address is no 'host:port'"));
            }
            servers.push(Server {
                address: host.to_owned(),
                idle: Mutex::default(),
                permits: Semaphore::new(CONNECTIONS),
                largest_item: 0.into(),
            });
        }
        if servers.is_empty() {
            return Err(MetadataError::new("hosts", "it is empty", "add a 'host:port'"));
        }
        Ok(Servers {
            servers,
            max_idle,
            timeout,
        })
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        let server = self.of(key)?;
        match self.call(server, Command::Get(key)).await? {
            Answer::Value(value) => Ok(value),
            _ => Err(strange(server)),
        }
    }

    pub(super) async fn set(&self, key: &str, expires: i64, value: &[u8]) -> Result<(), StateError> {
        let server = self.of(key)?;
        // memcached drops the old value with a new one that does not fit: it must not even see it.
        let largest = server.largest_item.load(Ordering::Relaxed);
        if largest > 0 && value.len() + key.len() + ITEM_OVERHEAD > largest {
            let message = format!("memcached takes values of up to {largest} bytes with their keys (its option -I)");
            return Err(StateError::Invalid(message));
        }
        self.write(server, Command::Set(key, expires, value)).await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), StateError> {
        self.write(self.of(key)?, Command::Delete(key)).await
    }

    async fn write(&self, server: &Server, command: Command<'_>) -> Result<(), StateError> {
        match self.call(server, command).await? {
            Answer::Done => Ok(()),
            Answer::Refused(words) => Err(StateError::Other(format!("memcached at {}: {words}", server.address))),
            _ => Err(strange(server)),
        }
    }

    /// Asks every server how much it takes, and thereby whether it is there.
    pub(super) async fn ask_limits(&self) -> Result<(), StateError> {
        for server in &self.servers {
            let Answer::Largest(largest) = self.call(server, Command::Limits).await? else {
                return Err(strange(server));
            };
            server.largest_item.store(largest.unwrap_or(0), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Closes what is idle.
    pub(super) fn forget(&self) {
        for server in &self.servers {
            server.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    fn of(&self, key: &str) -> Result<&Server, StateError> {
        // CRC-32, by which Dapr's client chooses.
        let at = crc32fast::hash(key.as_bytes()) as usize % self.servers.len().max(1);
        let none = || StateError::Unavailable("there is no memcached server".into());
        self.servers.get(at).ok_or_else(none)
    }

    async fn call(&self, server: &Server, command: Command<'_>) -> Result<Answer, StateError> {
        let unavailable =
            |reason: String| StateError::Unavailable(format!("memcached at {}: {reason}", server.address));
        match tokio::time::timeout(self.timeout, self.try_call(server, &command)).await {
            Ok(answer) => answer.map_err(|error| unavailable(error.to_string())),
            Err(_) => Err(unavailable(format!("no answer within {:?}", self.timeout))),
        }
    }

    async fn try_call(&self, server: &Server, command: &Command<'_>) -> io::Result<Answer> {
        let _permit = server.permits.acquire().await.map_err(io::Error::other)?;
        let idle = server.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut connection) = idle {
            match connection.run(command).await {
                Ok(answer) => {
                    self.keep(server, connection);
                    return Ok(answer);
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
                // It was closed while it was idle.
                Err(_) => {}
            }
        }
        let mut connection = Connection::open(&server.address).await?;
        let answer = connection.run(command).await?;
        self.keep(server, connection);
        Ok(answer)
    }

    fn keep(&self, server: &Server, connection: Connection) {
        let mut idle = server.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.max_idle {
            idle.push(connection);
        }
    }
}

fn strange(server: &Server) -> StateError {
    StateError::Other(format!("memcached at {} answered something else", server.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_lives_where_daprs_client_looks_for_it() {
        // 0xCBF4_3926 is the check value of CRC-32/ISO-HDLC.
        let servers = Servers::new("a:1, b:2 ,c:3", 2, Duration::from_secs(1)).unwrap();
        assert_eq!(
            servers.of("123456789").unwrap().address,
            ["a:1", "b:2", "c:3"][0xCBF4_3926 % 3]
        );
    }

    #[test]
    fn addresses_are_hosts_with_ports() {
        for hosts in [
            "",
            " , ",
            "host",
            "host:x",
            "/run/memcached.sock:1",
            ":11211",
            "host:70000",
        ] {
            let error = Servers::new(hosts, 2, Duration::from_secs(1)).err().unwrap();
            assert_eq!(error.field, "hosts", "{hosts:?}");
        }
    }
}
