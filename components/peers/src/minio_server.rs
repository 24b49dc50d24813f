//! A real MinIO on a free port, with one bucket, for the time of one test: it speaks S3 and checks signatures.
//!
//! One idea: it is what `./dev peers` builds. Must never skip when there is none.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::owned_server::OwnedServer;

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct MinioServer(OwnedServer<1>);

const USER: &str = "conformance";
const PASSWORD: &str = "conformance-only";

impl MinioServer {
    /// Its one bucket.
    pub const BUCKET: &str = "orders";

    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    /// When `PALLADIUM_PEERS` does not name the folder of MinIO, or it does not come up.
    pub async fn start() -> Self {
        let peers = std::env::var("PALLADIUM_PEERS").expect("PALLADIUM_PEERS: last line of `./dev peers`");
        let program = PathBuf::from(peers).join("minio");
        let server = OwnedServer::start(
            "minio (./dev peers)",
            Duration::from_secs(60),
            |folder, [port]| {
                let data = folder.path().join("data");
                // A bucket is a folder.
                std::fs::create_dir_all(data.join(Self::BUCKET)).expect("a folder for the bucket");
                let mut command = Command::new(&program);
                command
                    .args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}")])
                    .arg(&data)
                    .env("HOME", folder.path())
                    .env("MINIO_ROOT_USER", USER)
                    .env("MINIO_ROOT_PASSWORD", PASSWORD)
                    .env("MINIO_BROWSER", "off")
                    .env("MINIO_UPDATE", "off");
                command
            },
            async |[port]| is_ready(port).await,
        );
        Self(server.await)
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.ports[0])
    }

    /// What somebody is answered who only knows an address.
    ///
    /// # Panics
    /// When there is no answer, or the address is another server's.
    pub async fn fetch(&self, url: &str) -> (u16, Vec<u8>) {
        let path = url.strip_prefix(&self.address()).expect("an address of this server");
        fetch(self.0.ports[0], path).await.expect("an answer")
    }

    /// Metadata of a component on its bucket.
    pub fn metadata(&self) -> [(String, String); 6] {
        [
            ("bucket", Self::BUCKET),
            ("region", "us-east-1"),
            ("endpoint", &self.address()),
            ("forcePathStyle", "true"),
            ("accessKey", USER),
            ("secretKey", PASSWORD),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    }
}

/// The server listens, and says that it is ready, before it knows its users: then a stranger is refused.
async fn is_ready(port: u16) -> bool {
    let asked = fetch(port, &format!("/{}/none", MinioServer::BUCKET)).await;
    asked.is_ok_and(|(status, _)| status == 403)
}

/// Status and body, by the version of HTTP in which an answer ends with the connection.
async fn fetch(port: u16, path: &str) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = format!("GET {path} HTTP/1.0\r\nhost: 127.0.0.1:{port}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.unwrap_or(0), answer.split_off((end + 4).min(answer.len()))))
}
