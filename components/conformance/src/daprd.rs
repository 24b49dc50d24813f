//! Dapr's own `daprd` beside a driver of ours, on the same server.
//!
//! One idea: it is the original that `./dev peers` builds, never a copy of its behaviour. Must never skip when there is none,
//! nor use a fixed port.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Dapr's own daprd with one component, `store`, for App ID `orders`; killed when dropped.
#[derive(Debug)]
pub struct Daprd {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Drop for Daprd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer of daprd's HTTP API.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    head: String,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }
}

impl Daprd {
    /// Starts it with a component of that type and waits until it can be called. `arguments`: more of them.
    ///
    /// # Panics
    /// When `PALLADIUM_PEERS` does not name the folder of daprd, or it does not start.
    pub async fn start(type_name: &str, version: &str, metadata: &[(String, String)], arguments: &[String]) -> Self {
        let peers = std::env::var("PALLADIUM_PEERS").expect("PALLADIUM_PEERS: last line of `./dev peers`");
        let folder = tempfile::tempdir().unwrap();
        let fields: Vec<String> = metadata
            .iter()
            .map(|(name, value)| format!("{{\"name\": \"{name}\", \"value\": \"{value}\"}}"))
            .collect();
        let component = format!(
            "{{\"apiVersion\": \"dapr.io/v1alpha1\", \"kind\": \"Component\", \"metadata\": {{\"name\": \"store\"}}, \
             \"spec\": {{\"type\": \"{type_name}\", \"version\": \"{version}\", \"metadata\": [{}]}}}}",
            fields.join(", ")
        );
        std::fs::write(folder.path().join("store.yaml"), component).unwrap();
        let mut daprd = Self::spawn(Path::new(&peers), folder, arguments);
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", daprd.port)).await.is_err()
            || daprd.call("GET", "/v1.0/healthz/outbound", "").await.status != 204
        {
            assert!(daprd.child.try_wait().unwrap().is_none(), "daprd ended");
            assert!(started.elapsed() < Duration::from_secs(30), "daprd does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        daprd
    }

    fn spawn(peers: &Path, folder: TempDir, arguments: &[String]) -> Self {
        // Held together until all are known, so that they differ.
        let free: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = free
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        drop(free);
        let child = Command::new(peers.join("daprd"))
            .args([
                "--app-id=orders",
                "--dapr-listen-addresses=127.0.0.1",
                "--log-level=error",
            ])
            .arg(format!("--resources-path={}", folder.path().display()))
            .arg(format!("--dapr-http-port={}", ports[0]))
            .arg(format!("--dapr-grpc-port={}", ports[1]))
            .arg(format!("--dapr-internal-grpc-port={}", ports[2]))
            .arg(format!("--metrics-port={}", ports[3]))
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .expect("daprd starts");
        Daprd {
            child,
            port: ports[0],
            _folder: folder,
        }
    }

    /// One call of its HTTP API with headers and bytes; status and body of the answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn exchange(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        // By the version in which an answer ends with the connection, and is never cut into chunks.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("an answer");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), answer.split_off(end + 4))
    }

    /// One call of its HTTP API.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        Answer {
            status,
            head: head.into(),
            body: body.into(),
        }
    }
}
