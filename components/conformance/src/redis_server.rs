//! A real `redis-server` on a free port, in a folder of its own, for the time of one test.
//!
//! One idea: the tests own the server they talk to, so they may do anything to it. Must never skip when there is no
//! `redis-server`, use one that was already running, or listen beyond 127.0.0.1.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    _folder: TempDir,
}

const PASSWORD: &str = "conformance-only";

impl RedisServer {
    /// Starts a server and waits until it listens.
    ///
    /// # Panics
    /// When there is no `redis-server`, or it does not come up: a missing server must not look like a passed test.
    pub async fn start() -> Self {
        for _ in 0..5 {
            // The port is free now; if somebody takes it meanwhile, the server ends at once and the next one is tried.
            let port = TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .map(|address| address.port());
            if let Some(server) = Self::try_start(port.expect("a free port")).await {
                return server;
            }
        }
        panic!("redis-server does not start (is it installed? `apt-get install redis-server`)");
    }

    async fn try_start(port: u16) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder for redis-server");
        let child = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(["--requirepass", PASSWORD, "--dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed: `apt-get install redis-server`");
        let mut server = RedisServer {
            child,
            port,
            _folder: folder,
        };
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(15) {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(server);
            }
            if server.child.try_wait().ok().flatten().is_some() {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    /// Metadata of a component on this server.
    pub fn metadata(&self) -> [(String, String); 2] {
        let host = format!("127.0.0.1:{}", self.port);
        [("redisHost".into(), host), ("redisPassword".into(), PASSWORD.into())]
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
