//! A real `etcd` on free ports, in a folder of its own, for the time of one test.
//!
//! One idea: what etcd needs of [`OwnedServer`]. Must never skip when there is no `etcd`.

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::owned_server::OwnedServer;

/// A running cluster of one member; killed when dropped.
#[derive(Debug)]
pub struct EtcdServer(OwnedServer<2>);

impl EtcdServer {
    /// Where it listens, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.0.ports[0]
    }

    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    /// When there is no `etcd`, or it does not come up.
    pub async fn start() -> Self {
        let server = OwnedServer::start(
            "etcd-server",
            Duration::from_secs(30),
            |folder, [port, peer_port]| {
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
                command
            },
            async |[port, _]| healthy(port).await,
        );
        Self(server.await)
    }

    /// Metadata of a component on this server.
    pub fn metadata(&self) -> [(String, String); 2] {
        let endpoint = format!("127.0.0.1:{}", self.0.ports[0]);
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
