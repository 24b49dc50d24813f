//! The region stream end to end in one process: both Sentries, the control plane's side with a store in memory, the agent.
//! Only the supervisor is missing, so no Dapr Server runs.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic anywhere")]

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use palladium_agent::PortRange;
use palladium_identity::{Attestation, Attestor, Identity, Settings};
use palladium_launch::{Envelope, IdentityConfig};
use palladium_proto::operator::ListComponentsRequest;
use palladium_proto::operator::operator_client::OperatorClient;
use palladium_proto::region::Verdict;
use palladium_regions::testing::Memory;
use palladium_regions::{DesiredObject, ReadBack, Regions};
use palladium_sealing::{ExposeSecret as _, HpkePublicKey, Kek, KekConfig, SealedField};
use palladium_spiffe::{SpiffeId, TrustDomain};
use palladium_tasks::Shutdown;
use palladium_telemetry::LogConfig;
use palladium_tls::{ALPN_H2, Connector, exactly, mtls_client_config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

const ORGANIZATION: &str = "org-oooooooooooo";
const REGION: &str = "reg-aaaaaaaaaaaa";
const PROJECT: &str = "prj-pppppppppppp";
const SECRET_FIELD: &str = "spec.metadata.redisPassword";
const CANARY: &str = "canary-hunter2-4711";
const PATIENCE: Duration = Duration::from_secs(20);

/// Ports that were free a moment ago, held together until all are known: asked for one after the other, two may be the same.
fn free<const N: usize>() -> [SocketAddr; N] {
    [(); N]
        .map(|()| TcpListener::bind("127.0.0.1:0").unwrap())
        .map(|held| held.local_addr().unwrap())
}

/// One trust domain with its Sentry.
struct Zone {
    domain: TrustDomain,
    folder: PathBuf,
    sentry_address: SocketAddr,
    supervisor: Attestor,
}

impl Zone {
    fn start(
        folder: &Path,
        id: &str,
        zone: palladium_sentry::Zone,
        sentry_address: SocketAddr,
        agent: Option<SocketAddr>,
        stop: &Shutdown,
    ) -> Self {
        let folder = folder.join(id);
        for name in ["sentry", "trust"] {
            palladium_os::files::private_folder(&folder.join(name)).unwrap();
        }
        let domain = palladium_spiffe::platform::trust_domain(id).unwrap();
        let kek = KekConfig::KeyFile {
            path: folder.join("kek"),
        };
        let own = |path: &str| SpiffeId::new(&domain, path).unwrap();
        let supervisor = Attestor::open(
            &Kek::open(&kek).unwrap(),
            &folder.join("supervisor.key"),
            own("/ns/palladium/dapr-sentry"),
        )
        .unwrap();
        supervisor
            .publish(&folder.join("trust"), "supervisor", &["/ns/palladium/*"])
            .unwrap();
        let config = palladium_sentry::Config {
            trust_domain: domain.clone(),
            zone,
            listen: sentry_address,
            data_folder: folder.join("sentry"),
            attestors_folder: folder.join("trust"),
            kek,
            agent: agent.map(|address| palladium_sentry::AgentConfig {
                address,
                spiffe_id: own("/ns/palladium/agent"),
            }),
            edge: None,
            leaf_ttl_seconds: 3600,
            issuer_ttl_seconds: 86_400,
            root_ttl_seconds: 864_000,
            log: LogConfig::default(),
        };
        let stop = stop.clone();
        tokio::spawn(async move { palladium_sentry::run(config, stop).await.unwrap() });
        Self {
            domain,
            folder,
            sentry_address,
            supervisor,
        }
    }

    fn id(&self, path: &str) -> SpiffeId {
        SpiffeId::new(&self.domain, path).unwrap()
    }

    fn identity(&self, path: &str) -> IdentityConfig {
        IdentityConfig {
            spiffe_id: self.id(path).to_string(),
            sentry_address: self.sentry_address,
            sentry_id: self.id("/ns/palladium/dapr-sentry").to_string(),
            roots_file: self.folder.join("sentry/ca.crt"),
            edge_address: None,
        }
    }

    async fn obtain(&self, path: &str, attestor: &Attestor) -> Identity {
        let settings = Settings::platform(&self.identity(path)).unwrap();
        ready(&self.folder.join("sentry")).await;
        let jwt = attestor.attest(&self.id(path)).unwrap();
        Identity::obtain(settings, Attestation::Once(jwt)).await.unwrap()
    }
}

async fn ready(folder: &Path) {
    let path = folder.join("ready");
    until("ready file", || path.exists()).await;
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

struct System {
    _folder: TempDir,
    root: PathBuf,
    control: Zone,
    region: Zone,
    store: Arc<Memory>,
    stream: SocketAddr,
    agent: SocketAddr,
    stop: Shutdown,
}

impl System {
    fn start() -> Self {
        palladium_tls::install_crypto_provider();
        let (folder, stop) = (tempfile::tempdir().unwrap(), Shutdown::new());
        let [in_control, in_region, stream, agent] = free();
        let root = folder.path().to_owned();
        let control = Zone::start(
            &root,
            ORGANIZATION,
            palladium_sentry::Zone::Control,
            in_control,
            None,
            &stop,
        );
        let kind = palladium_sentry::Zone::Region;
        let region = Zone::start(&root, REGION, kind, in_region, Some(agent), &stop);
        let store = Arc::new(Memory::new(&[REGION]));
        Self {
            _folder: folder,
            root,
            control,
            region,
            store,
            stream,
            agent,
            stop,
        }
    }

    async fn control_plane(&self) -> (Regions, Shutdown, JoinHandle<()>) {
        let identity = self
            .control
            .obtain("/ns/palladium/control-plane", &self.control.supervisor)
            .await;
        let config = palladium_regions::Config {
            listen: self.stream,
            public_url: format!("https://{}", self.stream),
            organization_id: ORGANIZATION.into(),
            key_folder: self.control.folder.clone(),
            sentry_address: self.control.sentry_address,
            trust_folder: self.control.folder.join("trust"),
            join_token_seconds: 60,
            log_entries_kept: 100,
        };
        let kek = Kek::open(&KekConfig::KeyFile {
            path: self.control.folder.join("kek"),
        })
        .unwrap();
        let (svid, bundles) = (identity.svid().clone(), identity.bundles().clone());
        let regions = Regions::open(config, &kek, self.store.clone(), svid, bundles).unwrap();
        let (listener, shutdown) = (regions.bind().unwrap(), self.stop.child());
        let (serving, stop) = (regions.clone(), shutdown.clone());
        let task = tokio::spawn(async move { serving.serve(listener, stop).await.unwrap() });
        (regions, shutdown, task)
    }

    fn agent_config(&self) -> palladium_agent::Config {
        palladium_agent::Config {
            region_id: REGION.into(),
            identity: self.region.identity("/ns/palladium/agent"),
            listen: self.agent,
            metrics: None,
            data_folder: self.root.join("agent"),
            kek: KekConfig::KeyFile {
                path: self.region.folder.join("kek"),
            },
            guard_rails_file: self.root.join("guard-rails.yaml"),
            join_token_file: Some(self.root.join("join-token")),
            control_plane_address: None,
            trust_folder: self.region.folder.join("trust"),
            apps_folder: self.root.join("apps"),
            app_ports: PortRange {
                from: 30_001,
                to: 32_000,
            },
            supervisor_socket: self.root.join("no-supervisor.sock"),
            store_address: None,
            gateway_url: "https://localhost:8443".into(),
            ingress_domain: None,
            token_overlap_seconds: 3600,
            app_memory_limit_bytes: 0,
            app_open_files_limit: 0,
            log: LogConfig::default(),
        }
    }

    async fn run_agent(&self) -> (Shutdown, JoinHandle<()>) {
        ready(&self.region.folder.join("sentry")).await;
        let (config, shutdown) = (self.agent_config(), self.stop.child());
        let jwt = self
            .region
            .supervisor
            .attest(&self.region.id("/ns/palladium/agent"))
            .unwrap();
        let stop = shutdown.clone();
        let envelope = Envelope { attestation_jwt: jwt };
        let task = tokio::spawn(async move { palladium_agent::run_attested(config, envelope, stop).await.unwrap() });
        ready(&self.root.join("agent")).await;
        (shutdown, task)
    }

    fn verdict(&self, uid: &str) -> Option<Verdict> {
        self.store
            .state()
            .reports
            .iter()
            .rev()
            .find(|status| status.uid == uid)
            .map(|status| status.verdict())
    }

    /// What the Dapr Server of `app` gets listed, its certificate vouched for by the agent.
    async fn components(&self, app: &str) -> Vec<Value> {
        let kek = Kek::open(&KekConfig::KeyFile {
            path: self.region.folder.join("kek"),
        })
        .unwrap();
        let sentry = self.region.id("/ns/palladium/dapr-sentry");
        let attestor = Attestor::open(&kek, &self.root.join("agent/attestor.key"), sentry).unwrap();
        let identity = self.region.obtain(&format!("/ns/{PROJECT}/{app}"), &attestor).await;
        let agent = exactly(&self.region.id("/ns/palladium/agent"));
        let tls = mtls_client_config(identity.svid(), identity.bundles(), agent, ALPN_H2);
        let connector = Connector::mtls(tls, identity.bundles().clone(), PATIENCE);
        let channel = palladium_tls::channel(connector, &self.agent.to_string()).unwrap();
        let request = ListComponentsRequest {
            namespace: PROJECT.into(),
        };
        let listed = OperatorClient::new(channel)
            .list_components(request)
            .await
            .unwrap()
            .into_inner();
        listed
            .components
            .iter()
            .map(|json| serde_json::from_slice(json).unwrap())
            .collect()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.stop.trigger();
    }
}

fn object(kind: &str, name: &str, content: Value) -> DesiredObject {
    DesiredObject {
        api_version: "cra.diagrid.io/v1beta1".into(),
        kind: kind.into(),
        project_id: PROJECT.into(),
        project_name: "shop".into(),
        name: name.into(),
        uid: format!("u-{name}"),
        generation: 1,
        content: content.as_object().unwrap().clone(),
        ..DesiredObject::default()
    }
}

fn component(hpke: &HpkePublicKey) -> DesiredObject {
    let place = SealedField {
        region: REGION,
        project: PROJECT,
        uid: "u-redis",
        field: SECRET_FIELD,
        version: 1,
    };
    let content = json!({ "scopes": ["orders"], "spec": { "type": "state.redis", "metadata": [
        { "name": "redisHost", "value": "localhost:6379" },
        { "name": "redisPassword", "secretKeyRef": { "name": "palladium", "key": format!("u-redis/{SECRET_FIELD}") } },
    ] } });
    DesiredObject {
        sealed: vec![hpke.seal(&place, CANARY.as_bytes()).unwrap()],
        ..object("Component", "redis", content)
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_139_a_region_joins_follows_and_goes_on_without_its_control_plane() {
    let system = System::start();
    let (regions, stop_control, control) = system.control_plane().await;
    let token = regions.create_join_token(&REGION.parse().unwrap()).await.unwrap();
    palladium_os::files::write_private(&system.root.join("join-token"), token.expose_secret().as_bytes()).unwrap();
    let (stop_agent, agent) = system.run_agent().await;
    until("connected", || regions.session(REGION).is_some()).await;
    assert!(!system.root.join("join-token").exists(), "a spent token does not stay");

    let hpke = system.store.state().regions[REGION].hpke_public_key.clone();
    system.store.change(object("Project", "shop", json!({ "spec": {} })));
    system
        .store
        .change(object("AppIdentity", "orders", json!({ "spec": {} })));
    system
        .store
        .change(component(&HpkePublicKey::from_bytes(&hpke).unwrap()));
    until("project ready", || system.verdict("u-shop") == Some(Verdict::Ready)).await;
    until("app pending", || system.verdict("u-orders") == Some(Verdict::Pending)).await;
    until("secret confirmed", || {
        system
            .store
            .state()
            .confirmations
            .iter()
            .any(|one| one.field == SECRET_FIELD)
    })
    .await;
    let read = regions
        .read_back(REGION, ReadBack::AppToken { uid: "u-orders".into() }, "ann")
        .await
        .unwrap();
    assert!(palladium_launch::app_token::is_well_formed(
        read.expose_secret().as_bytes()
    ));

    // sec_141: neither what was stored for the stream nor any file of either side holds the secret or the token in clear.
    let state = format!("{:?}", system.store.state().reports);
    assert!(!state.contains(CANARY) && !state.contains(read.expose_secret()));
    for file in files(&system.root) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        for secret in [CANARY, read.expose_secret()] {
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                "{}",
                file.display()
            );
        }
    }

    // The control plane dies; the agent is restarted; Sentry and Dapr Servers are served from this region's disk.
    stop_control.trigger();
    control.await.unwrap();
    stop_agent.trigger();
    agent.await.unwrap();
    let (_stop_agent, _agent) = system.run_agent().await;
    let components = system.components("orders").await;
    assert_eq!(
        components[0]["spec"]["metadata"][1],
        json!({ "name": "redisPassword", "value": CANARY })
    );

    // It comes back; the region proves itself with its own key and gets what it missed.
    let (regions, _stop, _task) = system.control_plane().await;
    until("connected again", || regions.session(REGION).is_some()).await;
    system
        .store
        .change(object("AppIdentity", "stock", json!({ "spec": {} })));
    until("the new one", || system.verdict("u-stock") == Some(Verdict::Pending)).await;
    assert!(system.components("stock").await.is_empty(), "out of scope");
}
