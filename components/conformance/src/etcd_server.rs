//! A real `etcd` on free ports, in a folder of its own, for the time of one test.
//!
//! One idea: the tests own the server they talk to, so they may do anything to it. Must never skip when there is no
//! `etcd`, nor use one that was already running.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A running cluster of one member; killed when dropped.
#[derive(Debug)]
pub struct EtcdServer {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl EtcdServer {
    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    /// When there is no `etcd`, or it does not come up: a missing server must not look like a passed test.
    pub async fn start() -> Self {
        for _ in 0..5 {
            // Held together, so that they differ. If somebody takes one meanwhile, the server ends at once and the next
            // one is tried.
            let free = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).expect("a free port"));
            let ports = free.each_ref().map(|it| it.local_addr().expect("bound").port());
            drop(free);
            if let Some(server) = Self::try_start(ports).await {
                return server;
            }
        }
        panic!("etcd does not start (is it installed? `apt-get install etcd-server`)");
    }

    async fn try_start([port, peer_port]: [u16; 2]) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder for etcd");
        let (clients, peers) = (
            format!("http://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{peer_port}"),
        );
        let mut command = Command::new("etcd");
        command
            .args(["--name", "one", "--log-level", "fatal", "--logger", "zap"])
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("one={peers}"), "--data-dir"])
            .arg(folder.path());
        if cfg!(target_arch = "aarch64") {
            // etcd 3.4 wants to be asked twice.
            command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("etcd must be installed: `apt-get install etcd-server`");
        let mut server = EtcdServer {
            child,
            port,
            _folder: folder,
        };
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(30) {
            if healthy(port).await {
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
        let endpoint = format!("127.0.0.1:{}", self.port);
        [
            ("endpoints".into(), endpoint),
            ("keyPrefixPath".into(), "conformance".into()),
        ]
    }
}

/// It listens before it can serve, so it is asked.
async fn healthy(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    matches!(
        tokio::time::timeout(Duration::from_secs(2), ask).await,
        Ok(Ok(answer)) if answer.contains("\"health\":\"true\"")
    )
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
