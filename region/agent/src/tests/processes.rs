//! Reconcilers against a supervisor on a real socket that only keeps a table.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use palladium_proto::region::{LoadResult, ReportRequest, Verdict};
use palladium_proto::supervisor::supervisor_server::{Supervisor as Api, SupervisorServer};
use palladium_proto::supervisor::{
    Process, ProcessTable, StartRequest, State, StopRequest, StopResponse, WatchRequest,
};
use palladium_tasks::{Shutdown, Tasks};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::control::{Control, PROJECT, Wanted, config, region};
use crate::reconcile;
use crate::region::{Region, now_ms};
use crate::supervisor::Supervisor;

#[derive(Clone)]
struct Fake {
    table: Arc<watch::Sender<BTreeMap<String, Process>>>,
    started: Arc<Mutex<Vec<StartRequest>>>,
}

impl Fake {
    fn start(folder: &std::path::Path, shutdown: &Shutdown) -> Self {
        let fake = Self {
            table: Arc::new(watch::Sender::new(BTreeMap::new())),
            started: Arc::default(),
        };
        let listener = UnixListener::bind(folder.join("supervisor.sock")).unwrap();
        let (service, stop) = (SupervisorServer::new(fake.clone()), shutdown.clone());
        tokio::spawn(async move {
            let incoming = UnixListenerStream::new(listener);
            let server = tonic::transport::Server::builder().add_service(service);
            server
                .serve_with_incoming_shutdown(incoming, stop.wait())
                .await
                .unwrap();
        });
        fake
    }

    fn starts(&self) -> usize {
        self.started.lock().unwrap().len()
    }

    fn exit(&self, name: &str, code: i32) {
        self.table.send_modify(|table| {
            let process = table.get_mut(name).unwrap();
            process.set_state(State::Exited);
            process.exit_code = code;
            process.reason = "killed by signal 9".into();
        });
    }
}

#[tonic::async_trait]
impl Api for Fake {
    async fn start(&self, request: Request<StartRequest>) -> Result<Response<Process>, Status> {
        let request = request.into_inner();
        let process = Process {
            name: request.name.clone(),
            spiffe_id: request.spiffe_id.clone(),
            pid: 1,
            state: State::Running.into(),
            started_at_unix_ms: now_ms(),
            ..Process::default()
        };
        self.started.lock().unwrap().push(request.clone());
        self.table
            .send_modify(|table| drop(table.insert(request.name, process.clone())));
        Ok(Response::new(process))
    }

    async fn stop(&self, request: Request<StopRequest>) -> Result<Response<StopResponse>, Status> {
        self.table
            .send_modify(|table| drop(table.remove(&request.get_ref().name)));
        Ok(Response::new(StopResponse {}))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<BoxStream<ProcessTable>>, Status> {
        let tables = WatchStream::new(self.table.subscribe()).map(|table| {
            Ok(ProcessTable {
                processes: table.into_values().collect(),
            })
        });
        Ok(Response::new(Box::pin(tables)))
    }
}

struct Running {
    region: Arc<Region>,
    control: Control,
    fake: Fake,
    shutdown: Shutdown,
    _tasks: Tasks,
    folder: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::new();
        let region = Arc::new(region(folder.path(), &control));
        let shutdown = Shutdown::new();
        let fake = Fake::start(folder.path(), &shutdown);
        let tasks = Self::tasks(&region, &shutdown);
        Self {
            region,
            control,
            fake,
            shutdown,
            _tasks: tasks,
            folder,
        }
    }

    fn tasks(region: &Arc<Region>, shutdown: &Shutdown) -> Tasks {
        let mut tasks = Tasks::new();
        let supervisor = Supervisor::new(&region.config.supervisor_socket);
        tasks.spawn(
            "supervisor",
            supervisor.clone().follow(region.clone(), shutdown.clone()),
        );
        for (name, task) in reconcile::tasks(region, &supervisor, shutdown) {
            tasks.spawn(name, task);
        }
        tasks
    }

    fn put(&mut self, wanted: &Wanted) {
        self.region.take_entry(&self.control.put(wanted)).unwrap();
    }

    fn report(&self, app: &str, loads: Vec<LoadResult>) {
        let report = ReportRequest {
            ready: true,
            loads,
            ..ReportRequest::default()
        };
        self.region
            .observed
            .report(&format!("{PROJECT}/{app}"), report, now_ms());
        self.region.versions.bump();
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let wait = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(10), wait).await.is_ok(),
            "never: {what}"
        );
    }

    fn sees_processes(&self) -> bool {
        let processes = self.region.observed.processes_to_act_on();
        processes.is_some_and(|all| !all.is_empty())
    }

    fn verdict(&self, uid: &str) -> Option<Verdict> {
        self.region.statuses.latest(uid).map(|status| status.verdict())
    }

    fn details(&self, uid: &str) -> Value {
        serde_json::from_slice(&self.region.statuses.latest(uid).unwrap().status_json).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

#[tokio::test]
async fn an_app_id_becomes_ready_only_when_its_dapr_server_says_so() {
    let mut running = Running::start();
    running.put(&Wanted::project());
    running.put(&Wanted::app("orders"));
    running.until("started", || running.fake.starts() == 1).await;
    let start = running.fake.started.lock().unwrap()[0].clone();
    assert_eq!(start.name, format!("{PROJECT}/orders"));
    let text = std::fs::read_to_string(&start.config_file).unwrap();
    let config: palladium_launch::DaprServerConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (config.app_id.as_str(), config.project_id.as_str()),
        ("orders", PROJECT)
    );
    assert!(start.stdin.starts_with(b"{\"attestation_jwt\":\"") && !text.contains("attestation"));
    running
        .until("pending", || running.verdict("u-orders") == Some(Verdict::Pending))
        .await;
    running.report("orders", Vec::new());
    running
        .until("ready", || running.verdict("u-orders") == Some(Verdict::Ready))
        .await;
    let details = running.details("u-orders");
    assert!(
        details["spiffeId"]
            .as_str()
            .unwrap()
            .ends_with("/ns/prj-pppppppppppp/orders")
    );
    assert_eq!(details["tokens"][0]["revision"], 0);
    assert_eq!(
        running.details("u-project")["endpoints"]["http"],
        json!({ "url": "https://localhost:8443", "port": 8443 })
    );
}

#[tokio::test]
async fn a_dapr_server_that_ends_is_started_again_and_says_why_meanwhile() {
    let mut running = Running::start();
    running.put(&Wanted::app("orders"));
    running.until("started", || running.fake.starts() == 1).await;
    let name = format!("{PROJECT}/orders");
    running.fake.exit(&name, -1);
    running.until("started again", || running.fake.starts() == 2).await;
    let first = running.fake.started.lock().unwrap().clone();
    assert_eq!(first[0].config_file, first[1].config_file, "the same ports");
    assert_ne!(first[0].stdin, first[1].stdin, "a fresh attestation each time");
    running
        .until("said why", || {
            running
                .region
                .statuses
                .latest("u-orders")
                .is_some_and(|status| !status.reason.is_empty())
        })
        .await;
}

#[tokio::test]
async fn sec_138_a_restarted_agent_leaves_running_dapr_servers_alone() {
    let mut running = Running::start();
    running.put(&Wanted::app("orders"));
    running.until("started", || running.fake.starts() == 1).await;
    let token = running.region.tokens.digests("u-orders");
    // A new agent on the same folder, without any control plane.
    let again = Arc::new(Region::open(config(running.folder.path())).unwrap());
    let _tasks = Running::tasks(&again, &running.shutdown);
    running
        .until("serving", || {
            again
                .statuses
                .latest("u-orders")
                .is_some_and(|status| status.verdict() == Verdict::Ready)
        })
        .await;
    assert_eq!((running.fake.starts(), again.tokens.digests("u-orders")), (1, token));
}

#[tokio::test]
async fn deletion_stops_purges_and_frees_the_name_last() {
    let mut running = Running::start();
    let app = Wanted::app("orders");
    running.put(&Wanted::project());
    running.put(&app);
    running.until("started", || running.fake.starts() == 1).await;
    let (name, data) = (
        format!("{PROJECT}/orders"),
        running.folder.path().join("apps").join(PROJECT).join("orders"),
    );
    assert!(data.is_dir());
    let old = running.region.tokens.digests("u-orders");
    running.region.take_entry(&running.control.delete(&app)).unwrap();
    running
        .region
        .take_entry(&running.control.delete(&Wanted::project()))
        .unwrap();
    running
        .until("gone", || running.verdict("u-orders") == Some(Verdict::Deleted))
        .await;
    running
        .until("project gone", || {
            running.verdict("u-project") == Some(Verdict::Deleted)
        })
        .await;
    assert!(!data.exists() && running.fake.table.borrow().is_empty() && running.region.ports.get(&name).is_none());
    assert!(running.region.revocations.before(&name) > now_ms() / 1000 - 5);

    let again = Wanted {
        uid: "u-orders-2".into(),
        ..app
    };
    running.put(&Wanted {
        uid: "u-project-2".into(),
        ..Wanted::project()
    });
    running.put(&again);
    running.until("started anew", || running.fake.starts() == 2).await;
    assert_ne!(running.region.tokens.digests("u-orders-2"), old);
}

#[tokio::test]
async fn strangers_are_stopped_but_only_once_the_table_is_known() {
    let running = Running::start();
    let stranger = Process {
        name: format!("{PROJECT}/stranger"),
        state: State::Running.into(),
        ..Process::default()
    };
    running
        .fake
        .table
        .send_modify(|table| drop(table.insert(stranger.name.clone(), stranger)));
    running
        .until("stopped", || running.fake.table.borrow().is_empty())
        .await;
}

#[tokio::test]
async fn a_components_status_is_what_its_dapr_servers_report() {
    let mut running = Running::start();
    running.put(&Wanted::project());
    running.put(&Wanted::app("orders"));
    running.put(&Wanted::component(
        "memory",
        json!({ "scopes": ["orders"], "spec": { "type": "state.in-memory" } }),
    ));
    running.put(&Wanted::component(
        "unused",
        json!({ "scopes": ["nobody"], "spec": { "type": "state.in-memory" } }),
    ));
    running.until("started", || running.fake.starts() == 1).await;
    running
        .until("loading", || running.verdict("u-memory") == Some(Verdict::Pending))
        .await;
    running
        .until("unused", || running.verdict("u-unused") == Some(Verdict::Ready))
        .await;
    let load = |ok: bool, generation: u64| LoadResult {
        kind: "Component".into(),
        name: "memory".into(),
        uid: "u-memory".into(),
        generation,
        ok,
        message: if ok { String::new() } else { "connection refused".into() },
    };
    running.until("process seen", || running.sees_processes()).await;
    running.report("orders", vec![load(false, 1)]);
    running
        .until("failed", || running.verdict("u-memory") == Some(Verdict::Error))
        .await;
    assert_eq!(
        running.details("u-memory")["appIdStatus"][0]["messages"][0]["message"],
        "connection refused"
    );
    running.report("orders", vec![load(true, 1)]);
    running
        .until("ready", || running.verdict("u-memory") == Some(Verdict::Ready))
        .await;
    let changed = Wanted::component(
        "memory",
        json!({ "scopes": ["orders"], "spec": { "type": "state.in-memory", "metadata": [{ "name": "x", "value": "y" }] } }),
    );
    running.put(&changed.clone().generation(2, changed.body.clone()));
    running
        .until("loading the new one", || {
            running.verdict("u-memory") == Some(Verdict::Pending)
        })
        .await;
}

#[tokio::test]
async fn what_is_only_handed_out_is_ready_until_a_dapr_server_complains() {
    let mut running = Running::start();
    running.put(&Wanted::app("orders"));
    let routes =
        json!({ "spec": { "pubsubname": "p", "topic": "t", "routes": { "default": "/" } }, "scopes": ["orders"] });
    let wanted = [
        Wanted::new("Subscription", "s", "u-s", routes),
        Wanted::new("Resiliency", "r", "u-r", json!({ "spec": {} })),
        Wanted::new("Configuration", "c", "u-c", json!({ "spec": {} })),
        Wanted::new(
            "HTTPEndpoint",
            "h",
            "u-h",
            json!({ "spec": { "baseUrl": "https://a.example" } }),
        ),
    ];
    for wanted in &wanted {
        running.put(wanted);
    }
    let reason = |uid: &str| running.region.statuses.latest(uid).map(|status| status.reason);
    for (uid, said) in [
        ("u-s", "HandedOut"),
        ("u-r", "HandedOut"),
        ("u-c", "NotUsed"),
        ("u-h", "HandedOut"),
    ] {
        running.until(uid, || reason(uid).as_deref() == Some(said)).await;
        assert_eq!(running.verdict(uid), Some(Verdict::Ready), "{uid}");
    }
    let complaint = LoadResult {
        kind: "Subscription".into(),
        name: "s".into(),
        uid: "u-s".into(),
        generation: 1,
        ok: false,
        message: "no such pub/sub component".into(),
    };
    running.until("process seen", || running.sees_processes()).await;
    running.report("orders", vec![complaint]);
    running
        .until("error", || running.verdict("u-s") == Some(Verdict::Error))
        .await;
    assert_eq!(running.details("u-s")["appIdStatus"][0]["appId"], "orders");
    for wanted in &wanted {
        running.region.take_entry(&running.control.delete(wanted)).unwrap();
        let gone = || running.verdict(&wanted.uid) == Some(Verdict::Deleted);
        running.until("deleted", gone).await;
    }
    assert!(!running.region.tombstones.any_in_project(PROJECT));
}

#[tokio::test]
async fn an_app_id_without_its_configuration_is_not_ready() {
    let mut running = Running::start();
    let app = Wanted::app("orders").generation(1, json!({ "spec": { "appConfig": "strict" } }));
    running.put(&app);
    running.until("process seen", || running.sees_processes()).await;
    running.report("orders", vec![]);
    let said = |running: &Running| running.region.statuses.latest("u-orders").map(|s| (s.reason, s.field));
    let missing = Some(("ConfigurationMissing".to_owned(), "spec.appConfig".to_owned()));
    running.until("missing", || said(&running) == missing).await;
    running.put(&Wanted::new("Configuration", "strict", "u-c", json!({ "spec": {} })));
    running.report("orders", vec![]);
    running
        .until("ready", || running.verdict("u-orders") == Some(Verdict::Ready))
        .await;
}
