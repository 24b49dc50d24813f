//! A real `memcached` on a free port, for the time of one test.
//!
//! One idea: what memcached needs of [`OwnedServer`]. Must never skip when there is none, nor listen beyond 127.0.0.1.

use std::process::Command;
use std::time::Duration;

use crate::owned_server::{OwnedServer, is_root};

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct MemcachedServer(OwnedServer<1>);

impl MemcachedServer {
    /// Starts a server and waits until it listens.
    ///
    /// # Panics
    /// When there is no `memcached`, or it does not come up.
    pub async fn start() -> Self {
        let server = OwnedServer::start(
            "memcached",
            Duration::from_secs(15),
            |_, [port]| {
                let mut command = Command::new("memcached");
                command.args(["-l", "127.0.0.1", "-U", "0", "-m", "64", "-p", &port.to_string()]);
                if is_root() {
                    command.args(["-u", "root"]);
                }
                command
            },
            async |[port]| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(),
        );
        Self(server.await)
    }

    /// Metadata of a component on this server; calls have more time than usual, since machines that test are busy.
    pub fn metadata(&self) -> [(String, String); 2] {
        let host = format!("127.0.0.1:{}", self.0.ports[0]);
        [("hosts".into(), host), ("timeout".into(), "10000".into())]
    }
}
