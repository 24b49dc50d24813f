//! The store follows a table that changes: permissions, deletions, reports.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use palladium_component::StateStore;
use palladium_component::state::{GetRequest, SetRequest};
use palladium_proto::region::workload_server::{Workload, WorkloadServer};
use palladium_proto::region::{DeletedApp, Identity, ManagedTable, ReportRequest, ReportResponse, WatchRequest};
use palladium_spiffe::platform;
use palladium_tls::{ALPN_H2, Acceptor, Limits, exactly, incoming, mtls_server_config};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use super::component;
use super::world::{World, open};

type Stream = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<ManagedTable, Status>> + Send>>;

/// The agent's part of the protocol.
struct Agent {
    table: watch::Receiver<ManagedTable>,
    reports: Arc<Mutex<Vec<ReportRequest>>>,
}

#[tonic::async_trait]
impl Workload for Agent {
    async fn watch_managed(&self, _: Request<WatchRequest>) -> Result<Response<Stream>, Status> {
        Ok(Response::new(Box::pin(WatchStream::new(self.table.clone()).map(Ok))))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        self.reports.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ReportResponse {}))
    }
}

pub(super) struct Region {
    pub(super) world: World,
    table: watch::Sender<ManagedTable>,
    reports: Arc<Mutex<Vec<ReportRequest>>>,
    _agent: tokio::task::JoinHandle<()>,
}

impl Region {
    pub(super) async fn start(table: ManagedTable) -> Self {
        let mut world = World::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        world.agent_address = listener.local_addr().unwrap();
        let (sender, receiver) = watch::channel(table);
        let reports = Arc::new(Mutex::new(Vec::new()));
        let agent = Agent {
            table: receiver,
            reports: reports.clone(),
        };
        let (svid, bundles) = (world.ca.svid(platform::AGENT), world.ca.bundles());
        let config = mtls_server_config(&svid, &bundles, exactly(&world.ca.id(platform::STORE)), ALPN_H2);
        let acceptor = Acceptor::mtls(config, bundles, Duration::from_secs(5));
        let connections = incoming(listener, acceptor, Limits::default());
        let server = tonic::transport::Server::builder().add_service(WorkloadServer::new(agent));
        let task = tokio::spawn(async move { server.serve_with_incoming(connections).await.unwrap() });
        world.start().await;
        Region {
            world,
            table: sender,
            reports,
            _agent: task,
        }
    }

    /// Sends a table and waits for the report on it.
    pub(super) async fn send(&self, table: ManagedTable) -> ReportRequest {
        let version = table.version;
        self.table.send_replace(table);
        let started = Instant::now();
        loop {
            let found = self
                .reports
                .lock()
                .unwrap()
                .iter()
                .rfind(|report| report.applied_version == version)
                .cloned();
            if let Some(report) = found {
                return report;
            }
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "no report on version {version}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) fn project_folder(&self) -> std::path::PathBuf {
        self.world.data_folder().join("projects/prj-a")
    }
}

fn table(version: u64, apps: &[&str]) -> ManagedTable {
    ManagedTable {
        version,
        components: vec![component("prj-a", "uid-1", "kvstore", apps)],
        ..ManagedTable::default()
    }
}

async fn put(store: &dyn StateStore, key: &str) -> Result<(), palladium_component::StateError> {
    store
        .set(&SetRequest {
            key: key.into(),
            value: "v".into(),
            ..SetRequest::default()
        })
        .await
}

async fn has(store: &dyn StateStore, key: &str) -> bool {
    store
        .get(&GetRequest {
            key: key.into(),
            ..GetRequest::default()
        })
        .await
        .unwrap()
        .value
        .is_some()
}

#[tokio::test]
async fn a_scope_that_goes_takes_the_permission_along() {
    let region = Region::start(table(1, &["orders"])).await;
    let store = region.world.open("/ns/prj-a/orders", "kvstore").await;
    put(&*store, "orders||k").await.unwrap();
    region.send(table(2, &["stock"])).await;
    let error = put(&*store, "orders||k").await.unwrap_err();
    assert!(error.to_string().contains("PermissionDenied"), "{error}");
    region.send(table(3, &["orders"])).await;
    assert!(has(&*store, "orders||k").await, "the rows were not touched");
}

#[tokio::test]
async fn a_deleted_component_takes_its_rows_and_at_last_the_key_along() {
    let mut both = table(1, &["orders"]);
    both.components.push(component("prj-a", "uid-2", "second", &["orders"]));
    let region = Region::start(both.clone()).await;
    let (first, second) = (
        region.world.open("/ns/prj-a/orders", "kvstore").await,
        region.world.open("/ns/prj-a/orders", "second").await,
    );
    put(&*first, "orders||k").await.unwrap();
    put(&*second, "orders||k").await.unwrap();

    both.version = 2;
    both.components[0].deleted = true;
    let report = region.send(both.clone()).await;
    assert_eq!(report.destroyed_component_uids, ["uid-1"]);
    assert!(put(&*first, "orders||k").await.is_err());
    assert!(has(&*second, "orders||k").await);
    assert!(region.project_folder().join("data.key").exists());

    // A new component of the same name is another one.
    both.version = 3;
    both.components
        .push(component("prj-a", "uid-3", "kvstore", &["orders"]));
    region.send(both.clone()).await;
    assert!(!has(&*first, "orders||k").await);

    both.version = 4;
    both.components
        .iter_mut()
        .for_each(|component| component.deleted = true);
    let report = region.send(both).await;
    assert_eq!(report.destroyed_component_uids.len(), 3);
    assert!(!region.project_folder().exists(), "nothing is left of the project");
    assert!(put(&*second, "orders||k").await.is_err());
}

#[tokio::test]
async fn a_deleted_app_id_takes_its_keys_along_exactly_once() {
    let region = Region::start(table(1, &["orders", "orders2"])).await;
    let (orders, other) = (
        region.world.open("/ns/prj-a/orders", "kvstore").await,
        region.world.open("/ns/prj-a/orders2", "kvstore").await,
    );
    let own = ["orders||k", "orders||type||id||k", "prj-a.orders||k"];
    let others = ["orders2||k", "kvstore||k", "k", "orders|", "prj-a.orders2||k"];
    for key in own.iter().chain(&others) {
        put(&*other, key).await.unwrap();
    }
    let gone = DeletedApp {
        project_id: "prj-a".into(),
        app_id: "orders".into(),
        uid: "app-uid-1".into(),
    };
    let mut after = table(2, &["orders2"]);
    after.deleted_apps = vec![gone];
    let report = region.send(after.clone()).await;
    assert_eq!(report.destroyed_app_uids, ["app-uid-1"]);
    for key in own {
        assert!(!has(&*other, key).await, "{key} remains");
    }
    for key in others {
        assert!(has(&*other, key).await, "{key} is gone");
    }
    // A new App ID of that name, while the old one is still listed.
    after.version = 3;
    after.components[0].app_ids.push("orders".into());
    region.send(after.clone()).await;
    put(&*orders, "orders||new").await.unwrap();
    after.version = 4;
    let report = region.send(after).await;
    assert_eq!(report.destroyed_app_uids, ["app-uid-1"]);
    assert!(has(&*orders, "orders||new").await);
}

#[tokio::test]
async fn what_is_merely_missing_is_kept() {
    let region = Region::start(table(1, &["orders"])).await;
    let store = region.world.open("/ns/prj-a/orders", "kvstore").await;
    put(&*store, "orders||k").await.unwrap();
    region
        .send(ManagedTable {
            version: 2,
            ..ManagedTable::default()
        })
        .await;
    assert!(put(&*store, "orders||k").await.is_err());
    region.send(table(3, &["orders"])).await;
    assert!(has(&*store, "orders||k").await);
}

#[tokio::test]
async fn an_svid_of_a_deleted_app_id_opens_nothing_of_the_next_one_of_its_name() {
    let mut region = Region::start(table(1, &["orders"])).await;
    let old = region.world.ca.svid("/ns/prj-a/orders");
    let store = open(region.world.dial_with(&old), "kvstore").await.unwrap();
    put(&*store, "orders||k").await.unwrap();
    // Test certificates have been valid since long ago; whatever began before this instant is void.
    let mut again = table(2, &["orders"]);
    again.revoked = vec![Identity {
        spiffe_id: region.world.ca.id("/ns/prj-a/orders").to_string(),
        revoked_before_unix_s: i64::MAX,
    }];
    region.send(again.clone()).await;
    assert!(
        put(&*store, "orders||k").await.is_err(),
        "its live connection is closed"
    );
    assert!(open(region.world.dial_with(&old), "kvstore").await.is_err());

    // The same after a restart, from the last table; and an SVID that began later is served.
    region.world.stop().await;
    region.world.start().await;
    assert!(open(region.world.dial_with(&old), "kvstore").await.is_err());
    again.version = 3;
    again.revoked[0].revoked_before_unix_s = 1;
    region.send(again).await;
    let store = open(region.world.dial_with(&old), "kvstore").await.unwrap();
    assert!(has(&*store, "orders||k").await);
}
