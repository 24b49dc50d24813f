//! The suite over `state.etcd`, against the etcd that is built into Dapr's own scheduler: `--features peers`, with
//! `PALLADIUM_PEERS` naming the folder that `./dev peers` prints.
#![cfg(feature = "peers")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use palladium_component::{OpenContext, StateStore};
use palladium_conformance::state::Backend;
use tempfile::TempDir;

struct Etcd {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

impl Etcd {
    async fn start() -> Self {
        let peers = std::env::var("PALLADIUM_PEERS").expect("PALLADIUM_PEERS: last line of `./dev peers`");
        for _ in 0..5 {
            let folder = tempfile::tempdir().expect("a folder");
            let (port, peer) = (free_port(), free_port());
            let child = Command::new(PathBuf::from(&peers).join("scheduler"))
                .args([format!("--etcd-client-port={port}"), format!("--port={}", free_port())])
                .args([
                    format!("--healthz-port={}", free_port()),
                    format!("--metrics-port={}", free_port()),
                ])
                .arg(format!(
                    "--etcd-initial-cluster=dapr-scheduler-server-0=http://localhost:{peer}"
                ))
                .arg(format!("--etcd-data-dir={}", folder.path().display()))
                .args(["--id=dapr-scheduler-server-0", "--listen-address=127.0.0.1"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the scheduler starts");
            let mut etcd = Etcd {
                child,
                port,
                _folder: folder,
            };
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(20) {
                if etcd.child.try_wait().ok().flatten().is_some() {
                    break;
                }
                if open(port, "v2").await.ping().await.is_ok() {
                    return etcd;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        panic!("the scheduler's etcd does not start");
    }
}

async fn open(port: u16, version: &'static str) -> Arc<dyn StateStore> {
    let endpoint = format!("localhost:{port}");
    let properties = [("endpoints", endpoint.as_str()), ("keyPrefixPath", version)]
        .into_iter()
        .collect();
    let context = OpenContext::new("mystore", "myapp", properties);
    palladium_components_state::open("state.etcd", version, context)
        .await
        .expect("the store opens")
}

mod v2 {
    use super::*;

    async fn backend() -> Backend {
        let etcd = Etcd::start().await;
        let port = etcd.port;
        Backend {
            keep: Box::new(etcd),
            ..Backend::new(move || Box::pin(open(port, "v2")))
        }
    }

    palladium_conformance::state_suite!(backend);
}
