//! A real `redis-server` on a free port, in a folder of its own, for the time of one test.
//!
//! One idea: what Redis needs of [`OwnedServer`]. Must never skip when there is no `redis-server`, nor listen beyond
//! 127.0.0.1.

use std::process::Command;
use std::time::Duration;

use crate::owned_server::OwnedServer;

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct RedisServer(OwnedServer<1>);

const PASSWORD: &str = "conformance-only";

impl RedisServer {
    /// Where it listens, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.0.ports[0]
    }

    /// Starts a server and waits until it listens.
    ///
    /// # Panics
    /// When there is no `redis-server`, or it does not come up.
    pub async fn start() -> Self {
        let server = OwnedServer::start(
            "redis-server",
            Duration::from_secs(15),
            |folder, [port]| {
                let mut command = Command::new("redis-server");
                command
                    .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
                    .args(["--save", "", "--appendonly", "no"])
                    .args(["--requirepass", PASSWORD, "--dir"])
                    .arg(folder.path());
                command
            },
            async |[port]| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(),
        );
        Self(server.await)
    }

    /// A client of it, to do what a component never does.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let address = format!("redis://:{PASSWORD}@127.0.0.1:{}", self.0.ports[0]);
        let client = redis::Client::open(address).expect("an address");
        let connection = client.get_multiplexed_async_connection().await;
        connection.expect("the server can be reached")
    }

    /// Metadata of a component on this server.
    pub fn metadata(&self) -> [(String, String); 2] {
        let host = format!("127.0.0.1:{}", self.0.ports[0]);
        [("redisHost".into(), host), ("redisPassword".into(), PASSWORD.into())]
    }
}
