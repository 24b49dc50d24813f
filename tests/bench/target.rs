//! What is measured: a Dapr Server in its drop-in form, ours or the original.
//!
//! One idea: both get the same flags and the same resource files, and nothing else differs. A target must leave nothing
//! running and nothing on disk.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::process::Process;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(10);

/// The state store and the bus of all measurements, which cost as little as can be.
pub const IN_MEMORY: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: statestore}
spec: {type: state.in-memory, version: v1}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: pubsub}
spec: {type: pubsub.in-memory, version: v1}
";

/// What a server is started with.
pub struct Setup<'a> {
    /// Its App ID.
    pub app_id: &'a str,
    /// Documents in YAML.
    pub resources: &'a str,
    /// The port of the application, and what is spoken there.
    pub app: Option<(u16, &'a str)>,
    /// Sentry's port, its roots in PEM; without it everything is plain.
    pub sentry: Option<(u16, &'a str)>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            app_id: "bench",
            resources: IN_MEMORY,
            app: None,
            sentry: None,
        }
    }
}

/// Something that can be started.
pub struct Target {
    /// For the table.
    pub name: &'static str,
    /// It takes daprd's flags when called `daprd`.
    pub program: PathBuf,
}

/// A started one.
pub struct Server {
    /// Where its public HTTP API listens.
    pub http: SocketAddr,
    /// Where its public gRPC API listens.
    pub grpc: SocketAddr,
    /// For its costs.
    pub process: Process,
    child: Child,
    _folder: TempDir,
}

impl Target {
    /// Starts it; tells how long it took from the spawn to the first `204` of its health endpoint.
    pub async fn start(&self, setup: &Setup<'_>) -> Result<(Server, Duration)> {
        let folder = tempfile::tempdir()?;
        let resources = folder.path().join("resources");
        fs::create_dir(&resources)?;
        fs::write(resources.join("resources.yaml"), setup.resources)?;
        let daprd = folder.path().join("daprd");
        symlink(
            self.program
                .canonicalize()
                .with_context(|| self.program.display().to_string())?,
            &daprd,
        )?;
        let [http, grpc, internal, metrics, public] = free_ports();
        let mut command = Command::new(&daprd);
        for (flag, value) in [
            ("app-id", setup.app_id),
            ("log-level", "error"),
            ("mode", "standalone"),
            ("dapr-listen-addresses", "127.0.0.1"),
            ("dapr-internal-grpc-listen-address", "127.0.0.1"),
            ("dapr-public-listen-address", "127.0.0.1"),
            ("metrics-listen-address", "127.0.0.1"),
        ] {
            command.arg(format!("--{flag}={value}"));
        }
        for (flag, address) in [
            ("dapr-http-port", http),
            ("dapr-grpc-port", grpc),
            ("dapr-internal-grpc-port", internal),
            ("dapr-public-port", public),
            ("metrics-port", metrics),
        ] {
            command.arg(format!("--{flag}={}", address.port()));
        }
        if let Some((port, protocol)) = setup.app {
            command.args([format!("--app-port={port}"), format!("--app-protocol={protocol}")]);
        }
        command.arg(format!("--enable-mtls={}", setup.sentry.is_some()));
        if let Some((port, roots)) = setup.sentry {
            command
                .arg(format!("--sentry-address=127.0.0.1:{port}"))
                .env("DAPR_TRUST_ANCHORS", roots);
        }
        command
            .arg("--resources-path")
            .arg(&resources)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("stderr"))?)
            .kill_on_drop(true);
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| self.program.display().to_string())?;
        let pid = child.id().context("it ended at once")?;
        while !healthy(http).await {
            if let Some(status) = child.try_wait()? {
                let told = fs::read_to_string(folder.path().join("stderr")).unwrap_or_default();
                bail!("it ended with {status}: {told}");
            }
            if started.elapsed() > START {
                bail!("not healthy after {START:?}");
            }
            sleep(Duration::from_millis(1)).await;
        }
        let took = started.elapsed();
        Ok((
            Server {
                http,
                grpc,
                process: Process { pid },
                child,
                _folder: folder,
            },
            took,
        ))
    }
}

impl Server {
    /// Stops it as an operator would and waits for its end.
    pub async fn stop(mut self) -> Result<()> {
        Command::new("kill")
            .args(["-TERM", &self.process.pid.to_string()])
            .status()
            .await?;
        if timeout(STOP, self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// One question to the health endpoint, without a client library: its cost counts in the cold start.
async fn healthy(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return false;
    };
    let question = format!("GET /v1.0/healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = [0; 12];
    stream.write_all(question.as_bytes()).await.is_ok()
        && matches!(
            timeout(Duration::from_secs(1), stream.read_exact(&mut answer)).await,
            Ok(Ok(_))
        )
        && &answer[9..] == b"204"
}

/// Addresses that were free a moment ago.
pub fn free_ports<const N: usize>() -> [SocketAddr; N] {
    palladium_peers::free_ports().map(|port| (Ipv4Addr::LOCALHOST, port).into())
}
