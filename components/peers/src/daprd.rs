//! A `daprd` with one component: Dapr's own beside a driver of ours on the same server, or ours, to be put through faults.
//!
//! One idea: it is a whole program as people run it: the original that `./dev peers` builds, never a copy of its behaviour,
//! or the one that the workspace builds. Must never skip when there is none, nor use a fixed port.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::free_ports;

/// A daprd with one component, `store`, for App ID `orders`; killed when dropped.
#[derive(Debug)]
pub struct Daprd {
    /// Its HTTP API.
    pub api: Api,
    child: Child,
    command: Vec<String>,
    _folder: TempDir,
}

/// The HTTP API of a daprd, which may have been killed meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    port: u16,
}

impl Drop for Daprd {
    fn drop(&mut self) {
        self.kill();
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
    /// Starts Dapr's own with a component of that type and waits until it can be called. `arguments`: more of them.
    ///
    /// # Panics
    /// When `PALLADIUM_PEERS` does not name the folder of daprd, or it does not start.
    pub async fn start(type_name: &str, version: &str, metadata: &[(String, String)], arguments: &[String]) -> Self {
        let peers = std::env::var("PALLADIUM_PEERS").expect("PALLADIUM_PEERS: last line of `./dev peers`");
        let program = vec![text(Path::new(&peers).join("daprd"))];
        Self::run(program, type_name, version, metadata, arguments).await
    }

    /// Starts ours, a `palladium-dapr-server`, likewise. `hosts`: a file that it sees as `/etc/hosts`, which needs root.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn ours(
        ours: &Path,
        hosts: Option<&Path>,
        type_name: &str,
        version: &str,
        metadata: &[(String, String)],
        arguments: &[String],
    ) -> Self {
        let mut program = Vec::new();
        if let Some(hosts) = hosts {
            // The shell becomes the program, which is then killed by the same number.
            let bind = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
            program.extend(["unshare", "--mount", "sh", "-c", bind].map(str::to_owned));
            program.push(text(hosts.to_owned()));
        }
        program.extend([text(ours.to_owned()), "daprd".into()]);
        Self::run(program, type_name, version, metadata, arguments).await
    }

    async fn run(
        mut command: Vec<String>,
        type_name: &str,
        version: &str,
        metadata: &[(String, String)],
        arguments: &[String],
    ) -> Self {
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
        let ports = free_ports::<4>();
        command.extend([
            "--app-id=orders".into(),
            "--dapr-listen-addresses=127.0.0.1".into(),
            "--log-level=error".into(),
            format!("--resources-path={}", folder.path().display()),
            format!("--dapr-http-port={}", ports[0]),
            format!("--dapr-grpc-port={}", ports[1]),
            format!("--dapr-internal-grpc-port={}", ports[2]),
            format!("--metrics-port={}", ports[3]),
        ]);
        command.extend_from_slice(arguments);
        let mut daprd = Self {
            api: Api { port: ports[0] },
            child: spawn(&command),
            command,
            _folder: folder,
        };
        daprd.ready().await;
        daprd
    }

    /// Waits until it can be called.
    async fn ready(&mut self) {
        let started = Instant::now();
        loop {
            // One that takes a call and says nothing is asked again.
            let asked = self.api.answer("GET", "/v1.0/healthz/outbound", "");
            if let Ok(Some(Answer { status: 204, .. })) = timeout(Duration::from_secs(5), asked).await {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "daprd ended");
            assert!(started.elapsed() < Duration::from_secs(30), "daprd does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it by `KILL`, and starts it again with the same command line.
    ///
    /// # Panics
    /// When it does not start again.
    pub async fn kill_and_start_again(&mut self) {
        self.kill();
        self.child = spawn(&self.command);
        self.ready().await;
    }

    /// The most memory that it ever had, in bytes.
    ///
    /// # Panics
    /// When it has ended.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.expect("a process has memory") << 10
    }
}

fn text(path: PathBuf) -> String {
    path.into_os_string().into_string().expect("paths of tests are text")
}

fn spawn(command: &[String]) -> Child {
    let mut daprd = Command::new(&command[0]);
    daprd.args(&command[1..]).stdin(Stdio::null());
    daprd.spawn().expect("daprd starts")
}

impl Api {
    /// One call with headers and bytes; status and body of the answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn exchange(self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Vec<u8>) {
        let (status, _, body) = self.ask(method, path, headers, body).await.expect("an answer");
        (status, body)
    }

    /// One call.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn call(self, method: &str, path: &str, body: &str) -> Answer {
        self.answer(method, path, body).await.expect("an answer")
    }

    /// One call, if there is an answer.
    pub async fn answer(self, method: &str, path: &str, body: &str) -> Option<Answer> {
        let headers = [("content-type", "application/json")];
        let (status, head, body) = self.ask(method, path, &headers, body.as_bytes()).await?;
        let body = String::from_utf8(body).ok()?;
        Some(Answer { status, head, body })
    }

    /// Status, head and body of the answer, if there is one.
    async fn ask(
        self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<(u16, String, Vec<u8>)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        // By the version in which an answer ends with the connection, and is never cut into chunks.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        let mut answer = Vec::new();
        // Who refuses without having read the body resets the connection behind its answer.
        let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
        let _ = stream.read_to_end(&mut answer).await;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1)?.parse::<u16>().ok()?;
        Some((status, head, answer.split_off(end + 4)))
    }
}
