//! A region in miniature around a gateway.

use std::sync::Arc;
use std::time::Duration;

use palladium_launch::{IdentityConfig, app_token};
use palladium_proto::region::{ProjectHosts, Route, RouteTable, TokenDigest};
use palladium_tasks::{Shutdown, Tasks};
use palladium_tls::PublicCertSource;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::agent::{self, Serving};
use super::dapr::Dapr;
use super::pki::{self, Ca};
use crate::config::{AccessLog, Config, LimitsConfig};
use crate::run::Gateway;

pub const DOMAIN: &str = "reg-testtesttest.palladium.internal";
pub const A: &str = "prj-aaaaaaaaaaaa";
pub const B: &str = "prj-bbbbbbbbbbbb";

pub struct World {
    pub ca: Arc<Ca>,
    pub agent: Serving,
    pub gateway: Gateway,
    pub roots: String,
    pub config: Config,
    pub table: RouteTable,
    pub shutdown: Shutdown,
    certificate: PublicCertSource,
    tasks: Tasks,
    _folder: TempDir,
}

/// An App ID with its Dapr Server.
pub struct App {
    pub token: String,
    pub dapr: Dapr,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(bend: impl FnOnce(&mut Config)) -> Self {
        palladium_tls::install_crypto_provider();
        let ca = Arc::new(Ca::new(DOMAIN));
        let agent = agent::serve(&ca, "/ns/palladium/agent", 0);
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            identity: IdentityConfig {
                spiffe_id: ca.id("/ns/palladium/gateway").to_string(),
                sentry_address: "127.0.0.1:1".parse().unwrap(),
                sentry_id: ca.id("/ns/palladium/dapr-sentry").to_string(),
                roots_file: folder.path().join("none"),
                edge_address: None,
            },
            agent_address: agent.address,
            agent_id: ca.id("/ns/palladium/agent").to_string(),
            listen: "127.0.0.1:0".parse().unwrap(),
            names: Vec::new(),
            certificate: None,
            data_folder: folder.path().join("gateway"),
            workers: Some(1),
            limits: LimitsConfig::default(),
            access_log: AccessLog::All,
            metrics_listen: None,
            log: palladium_telemetry::LogConfig::default(),
        };
        bend(&mut config);
        let (cert, roots) = pki::public(&["localhost", "127.0.0.1", "http-a.test", "http-b.test", "http-c.test"]);
        let certificate = PublicCertSource::new();
        certificate.set(cert);
        let (shutdown, mut tasks) = (Shutdown::new(), Tasks::new());
        let svid = ca.svid("/ns/palladium/gateway");
        let gateway = Gateway::start(&config, svid, ca.bundles(), &certificate, &mut tasks, &shutdown).unwrap();
        Self {
            ca,
            agent,
            gateway,
            roots,
            config,
            table: RouteTable::default(),
            shutdown,
            certificate,
            tasks,
            _folder: folder,
        }
    }

    /// A new App ID, with a route that is in force when this returns.
    pub async fn app(&mut self, project: &str, app: &str) -> App {
        let dapr = Dapr::start(&self.ca, project, app, 0);
        let token = app_token::mint().unwrap().expose_secret().to_owned();
        self.table.routes.push(Route {
            project_id: project.to_owned(),
            app_id: app.to_owned(),
            spiffe_id: self.ca.id(&format!("/ns/{project}/{app}")).to_string(),
            address: dapr.address.to_string(),
            tokens: vec![digest(&token, 0)],
            max_body_bytes: 0,
            ready: true,
        });
        self.publish().await;
        App { token, dapr }
    }

    pub async fn hosts(&mut self, hosts: &[(&str, &str)]) {
        let entry = |(project, host): &(&str, &str)| ProjectHosts {
            project_id: (*project).to_owned(),
            hosts: vec![(*host).to_owned()],
        };
        self.table.hosts = hosts.iter().map(entry).collect();
        self.publish().await;
    }

    /// Hands the table to the gateway and waits until it is in force.
    pub async fn publish(&mut self) {
        self.table.version += 1;
        self.agent.agent.table.send_replace(self.table.clone());
        self.until_version(self.table.version).await;
    }

    pub async fn until_version(&self, version: u64) {
        tokio::time::timeout(Duration::from_secs(5), async {
            while self.gateway.shared.table.load().version < version {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
        .expect("table in force");
    }

    /// Waits until the gateway has told the agent that this version is in force and on disk.
    pub async fn until_reported(&self, version: u64) {
        let reports = &self.agent.agent.reports;
        let told = || {
            let reports = reports.lock().unwrap();
            reports.iter().any(|report| report.applied_version >= version)
        };
        tokio::time::timeout(Duration::from_secs(5), async {
            while !told() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("reported");
    }

    /// The agent is back where it was, with this table.
    pub async fn agent_again(&mut self) {
        let port = self.agent.address.port();
        let again = || agent::serve(&self.ca, "/ns/palladium/agent", port);
        for _ in 0..100 {
            // The old one's runtime ends by itself.
            if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.agent = again();
        self.agent.agent.table.send_replace(self.table.clone());
        self.until_version(self.table.version).await;
        for _ in 0..200 {
            if !self.gateway.shared.freshness.is_too_old() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until the gateway's metrics say so.
    pub async fn until_metric(&self, line: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        for _ in 0..400 {
            text = self.gateway.shared.metrics.text();
            if text.lines().any(&line) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("never said:\n{text}");
    }

    /// Ends the gateway and starts another on the same folder.
    pub async fn restart(self) -> Self {
        let Self {
            ca,
            agent,
            gateway,
            roots,
            config,
            table,
            shutdown,
            certificate,
            tasks,
            _folder,
        } = self;
        shutdown.trigger();
        gateway.wait().await.unwrap();
        tasks.drain(Duration::from_secs(2)).await.unwrap();
        let (shutdown, mut tasks) = (Shutdown::new(), Tasks::new());
        let svid = ca.svid("/ns/palladium/gateway");
        let gateway = Gateway::start(&config, svid, ca.bundles(), &certificate, &mut tasks, &shutdown).unwrap();
        Self {
            ca,
            agent,
            gateway,
            roots,
            config,
            table,
            shutdown,
            certificate,
            tasks,
            _folder,
        }
    }
}

pub fn digest(token: &str, not_after_unix_s: i64) -> TokenDigest {
    TokenDigest {
        sha256: app_token::digest(token.as_bytes()).to_vec().into(),
        not_after_unix_s,
    }
}
