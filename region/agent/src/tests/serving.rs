//! Operator and Workload over real mutual TLS: who gets what, and who is turned away.

use std::sync::Arc;
use std::time::Duration;

use palladium_proto::operator::operator_client::OperatorClient;
use palladium_proto::operator::{ComponentUpdateRequest, ListComponentsRequest, ResourceEventType};
use palladium_proto::region::workload_client::WorkloadClient;
use palladium_proto::region::{ReportRequest, TokenUse, WatchRequest};
use palladium_sealing::SealedField;
use palladium_tasks::Shutdown;
use palladium_tls::{ALPN_H2, Connector, exactly, mtls_client_config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Channel;

use super::control::{Control, DOMAIN, PROJECT, REGION, Wanted, region};
use super::pki::Pki;
use crate::region::{Region, now_ms};
use crate::serve;

pub(super) const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Served {
    pub(super) region: Arc<Region>,
    pub(super) control: Control,
    pki: Pki,
    address: String,
    shutdown: Shutdown,
    _folder: tempfile::TempDir,
}

impl Served {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut control, pki) = (Control::new(), Pki::new(DOMAIN));
        let region = Arc::new(region(folder.path(), &control));
        for wanted in [Wanted::project(), Wanted::app("orders"), Wanted::app("stock")] {
            region.take_entry(&control.put(&wanted)).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap().to_string(), Shutdown::new());
        let (svid, bundles) = (pki.svid("/ns/palladium/agent"), pki.bundles());
        let (served, stop) = (region.clone(), shutdown.clone());
        tokio::spawn(async move { serve::serve(served, listener, &svid, &bundles, stop).await.unwrap() });
        Self {
            region,
            control,
            pki,
            address,
            shutdown,
            _folder: folder,
        }
    }

    fn channel_of(&self, pki: &Pki, path: &str) -> Channel {
        let bundles = self.pki.bundles();
        let agent = exactly(&self.pki.id("/ns/palladium/agent"));
        let tls = mtls_client_config(&pki.svid(path), &bundles, agent, ALPN_H2);
        palladium_tls::channel(Connector::mtls(tls, bundles, PATIENCE), &self.address).unwrap()
    }

    fn channel(&self, path: &str) -> Channel {
        self.channel_of(&self.pki, path)
    }

    pub(super) fn operator(&self, app: &str) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel(&format!("/ns/{PROJECT}/{app}")))
    }

    fn workload(&self, path: &str) -> WorkloadClient<Channel> {
        WorkloadClient::new(self.channel(path))
    }

    pub(super) fn put(&mut self, wanted: &Wanted) {
        self.region.take_entry(&self.control.put(wanted)).unwrap();
    }

    fn store(&self, scopes: &[&str]) -> Wanted {
        let field = "spec.metadata.redisPassword";
        let place = SealedField {
            region: REGION,
            project: PROJECT,
            uid: "u-store",
            field,
            version: 1,
        };
        let mut wanted = Wanted::component(
            "store",
            json!({ "scopes": scopes, "spec": { "type": "state.redis", "metadata": [
                { "name": "redisHost", "value": "localhost:6379" },
                { "name": "redisPassword", "secretKeyRef": { "name": "palladium", "key": format!("u-store/{field}") } },
            ] } }),
        );
        wanted.sealed = vec![self.region.secrets.key().public().seal(&place, b"hunter2").unwrap()];
        wanted
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

#[tokio::test]
async fn components_reach_only_their_scope_with_secrets_in_place() {
    let mut served = Served::start().await;
    let store = served.store(&["orders"]);
    served.put(&Wanted {
        sealed: Vec::new(),
        ..store.clone()
    });
    let list = async |served: &Served, app: &str, namespace: &str| {
        let request = ListComponentsRequest {
            namespace: namespace.into(),
        };
        served
            .operator(app)
            .list_components(request)
            .await
            .map(|answer| answer.into_inner().components)
    };
    assert!(
        list(&served, "orders", PROJECT).await.unwrap().is_empty(),
        "without its secret it is not handed out"
    );
    served.put(&store);
    let components = list(&served, "orders", PROJECT).await.unwrap();
    let component: Value = serde_json::from_slice(&components[0]).unwrap();
    assert_eq!(
        component["spec"]["metadata"][1],
        json!({ "name": "redisPassword", "value": "hunter2" })
    );
    assert_eq!(
        (&component["metadata"]["namespace"], &component["metadata"]["uid"]),
        (&json!(PROJECT), &json!("u-store"))
    );
    assert!(list(&served, "stock", PROJECT).await.unwrap().is_empty());
    let status = list(&served, "orders", "prj-qqqqqqqqqqqq").await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn component_changes_are_told_while_they_happen() {
    let mut served = Served::start().await;
    let mut operator = served.operator("orders");
    let request = ComponentUpdateRequest {
        namespace: PROJECT.into(),
    };
    let mut events = operator.component_update(request).await.unwrap().into_inner();
    let plain =
        |value: &str| json!({ "spec": { "type": "state.in-memory", "metadata": [{ "name": "x", "value": value }] } });
    let wanted = Wanted::component("memory", plain("1"));
    served.put(&wanted);
    served.put(&Wanted::component(
        "other",
        json!({ "scopes": ["stock"], "spec": { "type": "state.in-memory" } }),
    ));
    let mut kinds = Vec::new();
    kinds.push(
        timeout(PATIENCE, events.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .r#type(),
    );
    served.put(&wanted.clone().generation(2, plain("2")));
    kinds.push(
        timeout(PATIENCE, events.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .r#type(),
    );
    served.region.take_entry(&served.control.delete(&wanted)).unwrap();
    kinds.push(
        timeout(PATIENCE, events.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .r#type(),
    );
    assert_eq!(
        kinds,
        [
            ResourceEventType::Created,
            ResourceEventType::Updated,
            ResourceEventType::Deleted
        ]
    );
}

#[tokio::test]
async fn every_table_is_for_one_role() {
    let served = Served::start().await;
    let roles = [
        "/ns/palladium/gateway",
        "/ns/palladium/dapr-sentry",
        "/ns/palladium/store",
        &format!("/ns/{PROJECT}/orders"),
    ];
    for (mine, role) in roles.iter().enumerate() {
        let mut client = served.workload(role);
        let codes = [
            client.watch_routes(WatchRequest::default()).await.err(),
            client.watch_identities(WatchRequest::default()).await.err(),
            client.watch_managed(WatchRequest::default()).await.err(),
            client.watch_app_server(WatchRequest::default()).await.err(),
        ];
        for (table, refused) in codes.into_iter().enumerate() {
            assert_eq!(
                refused.map(|status| status.code()),
                (table != mine).then_some(Code::PermissionDenied),
                "{role} {table}"
            );
        }
        let listed = OperatorClient::new(served.channel(role))
            .list_components(ListComponentsRequest::default())
            .await;
        assert_eq!(listed.is_ok(), mine == 3, "{role}");
    }
}

#[tokio::test]
async fn strangers_do_not_get_through_the_handshake() {
    let served = Served::start().await;
    for path in [
        "/ns/palladium/agent",
        "/ns/prj-qqqqqqqqqqqq/orders",
        &format!("/ns/{PROJECT}/nobody"),
        "/ns/palladium/other",
    ] {
        let mut client = served.workload(path);
        assert!(client.report(ReportRequest::default()).await.is_err(), "{path}");
    }
    // The same name, vouched for by another authority.
    let impostor = Pki::new(DOMAIN);
    let mut client = WorkloadClient::new(served.channel_of(&impostor, "/ns/palladium/gateway"));
    assert!(client.report(ReportRequest::default()).await.is_err());
}

#[tokio::test]
async fn sec_141_the_control_plane_finds_no_way_in() {
    let served = Served::start().await;
    let organization = Pki::new("org-oooooooooooo.palladium.internal");
    for path in [
        "/ns/palladium/control-plane",
        "/ns/palladium/gateway",
        "/ns/palladium/agent",
    ] {
        let mut client = WorkloadClient::new(served.channel_of(&organization, path));
        assert!(client.report(ReportRequest::default()).await.is_err(), "{path}");
    }
    // The same call is answered to who belongs here.
    let mut gateway = served.workload("/ns/palladium/gateway");
    gateway.report(ReportRequest::default()).await.unwrap();
}

#[tokio::test]
async fn a_deleted_app_id_loses_its_stream_and_its_place() {
    let mut served = Served::start().await;
    let mut client = served.workload(&format!("/ns/{PROJECT}/orders"));
    let mut states = client
        .watch_app_server(WatchRequest::default())
        .await
        .unwrap()
        .into_inner();
    let state = timeout(PATIENCE, states.message()).await.unwrap().unwrap().unwrap();
    assert_eq!((state.app_id.as_str(), state.project_name.as_str()), ("orders", "shop"));
    served
        .region
        .take_entry(&served.control.delete(&Wanted::app("orders")))
        .unwrap();
    let ended = timeout(PATIENCE, states.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied);
    assert!(client.report(ReportRequest::default()).await.is_err());
    let mut identities = served.workload("/ns/palladium/dapr-sentry");
    let mut tables = identities
        .watch_identities(WatchRequest::default())
        .await
        .unwrap()
        .into_inner();
    let table = tables.message().await.unwrap().unwrap();
    let ids: Vec<&str> = table
        .identities
        .iter()
        .map(|identity| identity.spiffe_id.as_str())
        .collect();
    assert_eq!(ids, [format!("spiffe://{DOMAIN}/ns/{PROJECT}/stock")]);
}

#[tokio::test]
async fn routes_hold_digests_only_and_revocation_replaces_them() {
    let served = Served::start().await;
    for uid in ["u-orders", "u-stock"] {
        served.region.tokens.ensure(uid, 0, 0, 1_000).unwrap();
    }
    for app in ["orders", "stock"] {
        served.region.ports.ensure(&format!("{PROJECT}/{app}")).unwrap();
    }
    served.region.observed.set_processes(Vec::new());
    let mut client = served.workload("/ns/palladium/gateway");
    let mut tables = client.watch_routes(WatchRequest::default()).await.unwrap().into_inner();
    let first = timeout(PATIENCE, tables.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.routes.len(), 2);
    assert!(
        first
            .routes
            .iter()
            .all(|route| route.tokens[0].sha256.len() == 32 && !route.ready)
    );
    let unconfirmed = |app: &str| {
        let digests = served.region.tokens.digests(&format!("u-{app}"));
        served.region.observed.gateways_without(PROJECT, app, &digests).len()
    };
    assert_eq!(unconfirmed("orders"), 1);
    client
        .report(ReportRequest {
            applied_version: first.version,
            ready: true,
            ..ReportRequest::default()
        })
        .await
        .unwrap();
    assert_eq!(unconfirmed("orders"), 0);
    served.region.tokens.ensure("u-orders", 1, 1, 2_000).unwrap();
    served.region.versions.bump();
    let second = timeout(PATIENCE, tables.message()).await.unwrap().unwrap().unwrap();
    assert!(second.version > first.version);
    let tokens = |table: &palladium_proto::region::RouteTable, app: &str| {
        table
            .routes
            .iter()
            .find(|route| route.app_id == app)
            .unwrap()
            .tokens
            .clone()
    };
    assert_ne!(tokens(&first, "orders"), tokens(&second, "orders"));
    assert_eq!(tokens(&first, "stock"), tokens(&second, "stock"));
    assert_eq!((unconfirmed("orders"), unconfirmed("stock")), (1, 0));
}

#[tokio::test]
async fn sec_049_sec_050_what_a_gateway_saw_of_a_token_is_shown_and_recorded() {
    let served = Served::start().await;
    served.region.tokens.ensure("u-orders", 0, 0, 1_000).unwrap();
    let sha256 = served.region.tokens.digests("u-orders")[0].sha256.clone();
    let mut gateway = served.workload("/ns/palladium/gateway");
    let now = now_ms() / 1000;
    let report = |sha256: &bytes::Bytes| ReportRequest {
        token_uses: vec![TokenUse {
            sha256: sha256.clone(),
            last_used_unix_s: now - 60,
            foreign_host_calls: 17,
        }],
        ..ReportRequest::default()
    };
    gateway.report(report(&sha256)).await.unwrap();
    gateway.report(report(&vec![1; 32].into())).await.unwrap();
    // Nobody else is heard about tokens.
    let mut app = served.workload(&format!("/ns/{PROJECT}/stock"));
    app.report(report(&sha256)).await.unwrap();
    let token = &served.region.tokens.status("u-orders", now_ms())[0];
    assert_eq!(token.last_used_at.unwrap().unix_millis(), (now - 60) * 1000);
    let log = std::fs::read_to_string(served.region.config.data_folder.join("audit-access.log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert_eq!(
        (
            &lines[0]["actor"],
            &lines[0]["action"],
            &lines[0]["object"],
            &lines[0]["outcome"],
            &lines[0]["count"]
        ),
        (
            &format!("appToken/{}", token.id).into(),
            &"appToken.foreignHost".into(),
            &format!("{PROJECT}/orders").into(),
            &"refused".into(),
            &17.into()
        )
    );
}
