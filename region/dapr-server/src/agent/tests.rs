//! What a Dapr Server tells its agent about what it was given, good and bad.

mod resources;

use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;
use palladium_proto::operator::operator_server::{Operator, OperatorServer};
use palladium_proto::operator::{
    ComponentUpdateEvent, ComponentUpdateRequest, ConfigurationUpdateEvent, ConfigurationUpdateRequest,
    GetConfigurationRequest, GetConfigurationResponse, HttpEndpointUpdateEvent, HttpEndpointUpdateRequest,
    ListComponentResponse, ListComponentsRequest, ListHttpEndpointsRequest, ListHttpEndpointsResponse,
    ListResiliencyRequest, ListResiliencyResponse, ListSubscriptionsRequest, ListSubscriptionsResponse,
    ResiliencyUpdateEvent, ResiliencyUpdateRequest, SubscriptionUpdateEvent, SubscriptionUpdateRequest,
};
use palladium_proto::region::workload_server::{Workload, WorkloadServer};
use palladium_proto::region::{AppEndpoint, AppServerState, ReportResponse};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, WatchStream};
use tokio_stream::{StreamExt as _, pending};
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status};

use super::*;
use crate::platform::{MAX_BODY, new_server};
use crate::testing;

const SECRET: &str = "hunter2-is-a-secret";

/// What the agent hands out; without a Configuration the one that the App ID names is missing.
#[derive(Clone)]
struct Given {
    configuration: Option<Bytes>,
    components: Vec<Bytes>,
    subscriptions: Vec<Bytes>,
    resiliencies: Vec<Bytes>,
    http_endpoints: Vec<Bytes>,
}

impl Default for Given {
    /// Nothing, and no Configuration is named.
    fn default() -> Self {
        Self {
            configuration: Some(Bytes::new()),
            components: Vec::new(),
            subscriptions: Vec::new(),
            resiliencies: Vec::new(),
            http_endpoints: Vec::new(),
        }
    }
}

/// The agent's side: resources and settings that a test may change, and the reports.
struct FakeAgent {
    given: watch::Receiver<Given>,
    settings: watch::Receiver<AppServerState>,
    reports: Arc<Mutex<Vec<ReportRequest>>>,
    /// How often the Configuration was asked for that is missing.
    missed: watch::Sender<usize>,
}

type Stream<T> = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

#[derive(Clone)]
struct Shared(Arc<FakeAgent>);

#[tonic::async_trait]
impl Workload for Shared {
    async fn watch_app_server(&self, _: Request<WatchRequest>) -> Result<Response<Stream<AppServerState>>, Status> {
        Ok(Response::new(Box::pin(
            WatchStream::new(self.0.settings.clone()).map(Ok),
        )))
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        self.0.reports.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ReportResponse {}))
    }
}

#[tonic::async_trait]
impl Operator for Shared {
    async fn list_components(
        &self,
        _: Request<ListComponentsRequest>,
    ) -> Result<Response<ListComponentResponse>, Status> {
        let components = self.0.given.borrow().components.clone();
        Ok(Response::new(ListComponentResponse { components }))
    }

    async fn component_update(
        &self,
        _: Request<ComponentUpdateRequest>,
    ) -> Result<Response<Stream<ComponentUpdateEvent>>, Status> {
        let changes = WatchStream::from_changes(self.0.given.clone());
        Ok(Response::new(Box::pin(changes.map(|_| Ok(Default::default())))))
    }

    async fn get_configuration(
        &self,
        _: Request<GetConfigurationRequest>,
    ) -> Result<Response<GetConfigurationResponse>, Status> {
        let configuration = self.0.given.borrow().configuration.clone();
        let configuration = configuration.ok_or_else(|| {
            self.0.missed.send_modify(|times| *times += 1);
            Status::unavailable("not here yet")
        })?;
        Ok(Response::new(GetConfigurationResponse { configuration }))
    }

    async fn configuration_update(
        &self,
        _: Request<ConfigurationUpdateRequest>,
    ) -> Result<Response<Stream<ConfigurationUpdateEvent>>, Status> {
        Ok(Response::new(Box::pin(pending())))
    }

    async fn list_subscriptions_v2(
        &self,
        _: Request<ListSubscriptionsRequest>,
    ) -> Result<Response<ListSubscriptionsResponse>, Status> {
        let subscriptions = self.0.given.borrow().subscriptions.clone();
        Ok(Response::new(ListSubscriptionsResponse { subscriptions }))
    }

    async fn subscription_update(
        &self,
        _: Request<SubscriptionUpdateRequest>,
    ) -> Result<Response<Stream<SubscriptionUpdateEvent>>, Status> {
        Ok(Response::new(Box::pin(pending())))
    }

    async fn list_resiliency(
        &self,
        _: Request<ListResiliencyRequest>,
    ) -> Result<Response<ListResiliencyResponse>, Status> {
        let resiliencies = self.0.given.borrow().resiliencies.clone();
        Ok(Response::new(ListResiliencyResponse { resiliencies }))
    }

    async fn list_http_endpoints(
        &self,
        _: Request<ListHttpEndpointsRequest>,
    ) -> Result<Response<ListHttpEndpointsResponse>, Status> {
        let http_endpoints = self.0.given.borrow().http_endpoints.clone();
        Ok(Response::new(ListHttpEndpointsResponse { http_endpoints }))
    }

    async fn http_endpoint_update(
        &self,
        _: Request<HttpEndpointUpdateRequest>,
    ) -> Result<Response<Stream<HttpEndpointUpdateEvent>>, Status> {
        Ok(Response::new(Box::pin(pending())))
    }

    async fn resiliency_update(
        &self,
        _: Request<ResiliencyUpdateRequest>,
    ) -> Result<Response<Stream<ResiliencyUpdateEvent>>, Status> {
        Ok(Response::new(Box::pin(pending())))
    }
}

struct World {
    server: Arc<Server>,
    given: watch::Sender<Given>,
    settings: watch::Sender<AppServerState>,
    reports: Arc<Mutex<Vec<ReportRequest>>>,
    missed: watch::Receiver<usize>,
    folder: tempfile::TempDir,
    /// Ends when calls may be served.
    following: JoinHandle<Tasks>,
    _tasks: Tasks,
}

impl World {
    /// A Dapr Server that has looked at these components once.
    async fn with(components: Vec<Bytes>) -> Self {
        Self::given(Given {
            components,
            ..Given::default()
        })
        .await
    }

    /// A Dapr Server that has looked at these resources once.
    async fn given(given: Given) -> Self {
        let mut world = Self::begin(given).await;
        world._tasks = (&mut world.following).await.unwrap();
        world
    }

    /// A Dapr Server that begins to look at these resources.
    async fn begin(given: Given) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (settings, receiver) = watch::channel(AppServerState {
            version: 1,
            ..AppServerState::default()
        });
        let reports = Arc::new(Mutex::new(Vec::new()));
        let (given, now) = watch::channel(given);
        let (times, missed) = watch::channel(0);
        let shared = Shared(Arc::new(FakeAgent {
            given: now,
            settings: receiver,
            reports: reports.clone(),
            missed: times,
        }));
        let mut tasks = Tasks::new();
        let serving = tonic::transport::Server::builder()
            .add_service(WorkloadServer::new(shared.clone()))
            .add_service(OperatorServer::new(shared));
        tasks.spawn("agent", async move {
            serving
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });

        let folder = tempfile::tempdir().unwrap();
        let mut config = testing::config();
        config.identity.roots_file = folder.path().join("roots.pem");
        config.agent_address = address;
        config.data_folder = folder.path().to_owned();
        let server = Arc::new(new_server(&config, &Default::default(), Shutdown::new()));
        let agent = Agent {
            channel: Endpoint::from_shared(format!("http://{address}"))
                .unwrap()
                .connect_lazy(),
            svid: SvidSource::new(),
            bundles: TrustBundles::new(),
            project_id: config.project_id.clone(),
            data_folder: config.data_folder.clone(),
            said: Default::default(),
        };
        let following = tokio::spawn({
            let server = server.clone();
            async move {
                follow(server, agent, &mut tasks).await;
                tasks
            }
        });
        Self {
            server,
            given,
            settings,
            reports,
            missed,
            folder,
            following,
            _tasks: Tasks::new(),
        }
    }

    /// The newest report, and that nothing secret is in any of them.
    fn report(&self) -> ReportRequest {
        let reports = self.reports.lock().unwrap();
        assert!(!format!("{reports:?}").contains(SECRET), "a secret is in a report");
        reports.last().expect("a report").clone()
    }

    /// Returns when settings of this version have been reported.
    async fn applied(&self, version: u64) {
        let started = Instant::now();
        while self.report().applied_version != version {
            let waited = started.elapsed();
            assert!(waited < Duration::from_secs(10), "new settings are not reported");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns when a look is over that found the Configuration missing: who asks for it again is done with the one before.
    async fn looked_in_vain(&self) {
        let mut missed = self.missed.clone();
        let before = *missed.borrow_and_update();
        let again = missed.wait_for(|times| *times >= before + 2);
        let in_time = tokio::time::timeout(Duration::from_secs(20), again).await;
        in_time.expect("it looks again and again").unwrap();
    }

    fn usable(&self, name: &str) -> bool {
        self.server.components.load().state(name, "orders").is_ok()
    }
}

fn component(name: &str, kind: &str, metadata: Value) -> Bytes {
    let document = json!({
        "apiVersion": "dapr.io/v1alpha1", "kind": "Component",
        "metadata": {"name": name, "uid": format!("uid of {name}"), "generation": 7},
        "spec": {"type": kind, "version": "v1", "metadata": metadata},
    });
    serde_json::to_vec(&document).unwrap().into()
}

/// Each failure is told under its own component, in words that help and without a secret; the others work.
#[tokio::test]
async fn a_component_that_cannot_be_loaded_is_told_without_secrets() {
    let password = json!({"name": "redisPassword", "value": SECRET});
    let field = |name: &str, value: &str| json!({"name": name, "value": value});
    let world = World::with(vec![
        component("good", "state.in-memory", json!([])),
        component("file", "state.sqlite", json!([field("connectionString", "data.db")])),
        component(
            "away",
            "state.redis",
            json!([
                field("redisHost", "127.0.0.1:1"),
                field("redisMaxRetries", "0"),
                password
            ]),
        ),
        component(
            "outside",
            "state.sqlite",
            json!([field("connectionString", &format!("/tmp/{SECRET}.db"))]),
        ),
        component(
            "wrong",
            "state.redis",
            json!([field("redisHost", "h"), field("redisDB", "x"), password]),
        ),
        component("typo", "state.rediss", json!([password])),
        component(
            "reference",
            "state.redis",
            json!([{"name": "redisPassword", "secretKeyRef": {"name": "vault"}}]),
        ),
        component(
            "environment",
            "state.redis",
            json!([{"name": "redisHost", "envRef": "HOME"}]),
        ),
        component("shape", "state.redis", json!([SECRET])),
        component("later", "nameresolution.sqlite", json!([password])),
        component("prefix", "state.in-memory", json!([field("keyPrefix", "a||b")])),
    ])
    .await;
    let report = world.report();
    assert!(
        report.ready && report.applied_version == 1,
        "failures do not keep a Dapr Server from serving"
    );
    let says = [
        ("good", ""),
        ("file", ""),
        ("away", "error connecting to redis at 127.0.0.1:1"),
        ("outside", "must be a relative path without '..'"),
        ("wrong", "'redisDB'"),
        ("typo", "couldn't find state store state.rediss/v1"),
        ("reference", "\"vault\""),
        ("environment", "envRef is not allowed here"),
        ("shape", "wrong form"),
        ("later", "nameresolution.sqlite cannot be used yet"),
        ("prefix", "can't contain '||'"),
    ];
    assert_eq!(report.loads.len(), says.len());
    for (name, expected) in says {
        let load = report
            .loads
            .iter()
            .find(|load| load.uid == format!("uid of {name}"))
            .expect(name);
        assert_eq!(
            (load.name.as_str(), load.generation, load.ok),
            (name, 7, expected.is_empty()),
            "{load:?}"
        );
        assert!(load.message.contains(expected), "{name}: {}", load.message);
        assert_eq!(world.usable(name), load.ok, "{name}");
    }
    assert!(world.folder.path().join("files/data.db").exists());

    // Settings that change later do not make the loads forgotten.
    world.settings.send_replace(AppServerState {
        version: 2,
        ..AppServerState::default()
    });
    world.applied(2).await;
    assert!(world.report().ready && world.report().loads.len() == says.len());
}

/// A server that takes connections and never answers costs its own component the time, and no other.
#[tokio::test]
async fn components_that_hang_hang_side_by_side() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = deaf.local_addr().unwrap().to_string();
    let hanging = |name: &str| {
        component(
            name,
            "state.redis",
            json!([{"name": "redisHost", "value": host}, {"name": "readTimeout", "value": "-1"}]),
        )
    };
    let started = Instant::now();
    let world = World::with(vec![
        hanging("a"),
        hanging("b"),
        hanging("c"),
        component("good", "state.in-memory", json!([])),
    ])
    .await;
    assert!(
        started.elapsed() < Duration::from_secs(9),
        "{:?}: one after another",
        started.elapsed()
    );
    assert!(world.usable("good") && !world.usable("a"));
    let message = &world.report().loads[0].message;
    assert!(
        world.report().loads.iter().filter(|load| !load.ok).count() == 3,
        "{message}"
    );
}

/// An endpoint that cannot be used, or is no longer there, leaves nothing of the one before; the first is told.
#[tokio::test]
async fn an_endpoint_that_cannot_be_used_is_told() {
    let world = World::with(vec![component("good", "state.in-memory", json!([]))]).await;
    for (version, url, port, fault) in [
        (2, "http://127.0.0.1:9999", Some(9999), None),
        (3, "https://127.0.0.1:9999", None, Some("https")),
        (4, "http://127.0.0.1:9999", Some(9999), None),
        (5, "", None, None),
    ] {
        world.settings.send_replace(AppServerState {
            version,
            app_id: "orders".to_owned(),
            endpoint: Some(AppEndpoint {
                url: url.to_owned(),
                protocol: "http".to_owned(),
                ..AppEndpoint::default()
            }),
            ..AppServerState::default()
        });
        world.applied(version).await;
        assert_eq!(world.server.app_settings.load().port, port, "{version}");
        assert_eq!(world.server.app.load().is_some(), port.is_some(), "{version}");
        let report = world.report();
        let told = report.loads.iter().find(|load| load.kind == "AppIdentity");
        assert_eq!(told.map(|load| load.ok), fault.map(|_| false), "{version}");
        if let (Some(load), Some(words)) = (told, fault) {
            assert!(load.name == "orders" && load.message.contains(words), "{load:?}");
        }
        assert_eq!(report.loads.iter().filter(|load| load.ok).count(), 1, "{version}");
    }
}

/// A limit that is taken back is the ordinary one again.
#[tokio::test]
async fn the_limit_on_bodies_follows_the_settings() {
    let world = World::with(vec![]).await;
    for (version, max_body_bytes, expected) in [(2, 10, 10), (3, 0, MAX_BODY)] {
        world.settings.send_replace(AppServerState {
            version,
            max_body_bytes,
            ..AppServerState::default()
        });
        world.applied(version).await;
        assert_eq!(world.server.max_body(), expected);
    }
}
