//! Calls from one application to another: two Dapr Servers with mutual TLS between them, an application behind the second.
//!
//! One idea: a call costs what both servers spend together. Certificates come from Dapr's own Sentry for both targets,
//! names from mDNS. It must never measure a call that stayed on one server.

use std::{fs, process::Stdio, time::Duration};

use anyhow::{Context, Result};
use palladium_tests::until;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{
    Options, Workload,
    app::App,
    report::Measures,
    requests::{Action, Wire},
    target::{Server, Setup, Target, free_ports},
};

const CALLEE: &str = "bench-http";
const GRPC_CALLEE: &str = "bench-grpc";

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "HTTP invoke",
        wire: Wire::Http,
        action: Action::Invoke(CALLEE),
        connections: 16,
    },
    Workload {
        name: "HTTP invoke, one connection",
        wire: Wire::Http,
        action: Action::Invoke(CALLEE),
        connections: 1,
    },
    Workload {
        name: "HTTP invoke, answers of 8 MiB",
        wire: Wire::Http,
        action: Action::Proxy(CALLEE),
        connections: 4,
    },
    Workload {
        name: "gRPC InvokeService",
        wire: Wire::Grpc,
        action: Action::Invoke(CALLEE),
        connections: 16,
    },
    Workload {
        name: "gRPC proxied",
        wire: Wire::Grpc,
        action: Action::Proxy(GRPC_CALLEE),
        connections: 16,
    },
];

/// Sentry does not start without one.
const CONFIG: &str = "{apiVersion: dapr.io/v1alpha1, kind: Configuration, metadata: {name: bench}, spec: {}}";

const START: Duration = Duration::from_secs(30);

/// Starts Sentry and three servers, measures everything once, stops them.
pub async fn visit(target: &Target, options: &Options) -> Result<Measures> {
    let mut measures = Measures::default();
    let workloads: Vec<_> = options.chosen(WORKLOADS).collect();
    if workloads.is_empty() {
        return Ok(measures);
    }
    let app = App::start()?;
    let sentry = Sentry::start(options).await.context("Sentry")?;
    let start = async |app_id, protocol: Option<&str>| {
        let setup = Setup {
            app_id,
            app: protocol.map(|protocol| (app.address.port(), protocol)),
            sentry: Some((sentry.port, &sentry.roots)),
            ..Setup::default()
        };
        anyhow::Ok(target.start(&setup).await.context(app_id.to_owned())?.0)
    };
    let caller = start("bench-caller", None).await?;
    let callee = start(CALLEE, Some("http")).await?;
    let grpc_callee = start(GRPC_CALLEE, Some("grpc")).await?;
    for workload in workloads {
        let processes = match workload.action {
            Action::Proxy(GRPC_CALLEE) => [&caller.process, &grpc_callee.process],
            _ => [&caller.process, &callee.process],
        };
        workload
            .measure(&caller, &processes, options.span(), &mut measures)
            .await?;
    }
    for server in [caller, callee, grpc_callee] {
        Server::stop(server).await?;
    }
    Ok(measures)
}

/// Dapr's own certificate authority; it ends when this is dropped.
struct Sentry {
    port: u16,
    roots: String,
    _child: Child,
    _folder: TempDir,
}

impl Sentry {
    async fn start(options: &Options) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let [port, health, metrics] = free_ports();
        let config = folder.path().join("config.yaml");
        fs::write(&config, CONFIG)?;
        let child = Command::new(options.peers.join("sentry"))
            .args([
                format!("-port={}", port.port()),
                format!("-healthz-port={}", health.port()),
                format!("-metrics-port={}", metrics.port()),
                "-listen-address=127.0.0.1".to_owned(),
                "-log-level=error".to_owned(),
                format!("-config={}", config.display()),
                format!("-issuer-credentials={}", folder.path().display()),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let file = folder.path().join("ca.crt");
        let roots = until(START, "its roots and its port", async || {
            tokio::net::TcpStream::connect(port).await?;
            Ok(fs::read_to_string(&file)?)
        })
        .await?;
        Ok(Self {
            port: port.port(),
            roots,
            _child: child,
            _folder: folder,
        })
    }
}
